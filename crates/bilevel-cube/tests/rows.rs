//! Operations on rows in one kernel compared with sums on the processor; skipped if there is no graphics adapter.

#[path = "../../bilevel-autodiff/tests/graphics/mod.rs"]
mod graphics;

use bilevel_cube::{
    Kernel, MOST_COLUMNS, RowInstruction, RowOperation, RowOutput, RowReading, Rows,
};
use bilevel_flex::fused::{Operation, Output};
use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::read_sync;
use burn::tensor::{BoolStore, DType, Shape, TensorData};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};

const MASKS: DType = DType::Bool(BoolStore::U32);

/// Numbers between -2 and 2.
fn numbers(len: usize, salt: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 37 + salt * 11) % 101) as f32 / 25.0 - 2.0).collect()
}

fn matrix([rows, columns]: [usize; 2], salt: usize) -> CubeTensor {
    let data = TensorData::new(numbers(rows * columns, salt), [rows, columns]);
    // As a view whose rows are columns.
    let turned = CubeBackend::float_from_data(data, &CubeDevice::default());
    let turned = CubeBackend::float_transpose(turned);
    CubeBackend::float_transpose(burn_cubecl::kernel::into_contiguous(turned))
}

fn step(operation: RowOperation, of: [usize; 3]) -> RowInstruction {
    RowInstruction { operation, of }
}

fn output(value: usize, [rows, columns]: [usize; 2]) -> RowOutput {
    let shape = Shape::new([rows, columns]);
    let result = Output { value, shape, dtype: DType::F32 };
    RowOutput { result, is_column: columns == 1 }
}

fn read(tensor: CubeTensor) -> Vec<f32> {
    read_sync(CubeBackend::float_into_data(tensor)).unwrap().iter::<f32>().collect()
}

fn assert_near(found: CubeTensor, expected: impl IntoIterator<Item = f64>, what: &str) {
    let found = read(found);
    let expected: Vec<_> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        let near = (f64::from(found) - expected).abs() <= 3e-6 * expected.abs().max(1.0);
        assert!(near, "{what}: {found} at {at}, expected {expected}");
    }
}

/// Rows that fill a cube, that do not, fewer than a cube has, and as many columns as are possible.
const SIZES: [[usize; 2]; 7] =
    [[2, 2], [3, 5], [64, 10], [5000, 10], [257, 3], [9, 63], [100, MOST_COLUMNS]];

#[test]
fn a_cross_entropy_and_its_gradient_are_one_kernel() {
    if !graphics::adapter() {
        return;
    }
    let device = CubeDevice::default();
    for size @ [rows, columns] in SIZES {
        let labels: Vec<i32> = (0..rows).map(|row| (row * 7 % columns) as i32).collect();
        let index = TensorData::new(labels.clone(), [rows, 1]);
        let arguments = vec![
            matrix(size, 1),
            matrix([1, columns], 2),
            matrix([rows, 1], 3),
            CubeBackend::int_from_data(index, &device),
        ];
        use Operation as Op;
        use RowOperation::*;
        let each = |operation, a, b| step(Entry(operation), [a, b, a]);
        let kernel = Kernel::of_rows(&Rows {
            size,
            arguments: vec![
                RowReading::Entries,
                RowReading::Row,
                RowReading::Column,
                RowReading::Index,
            ],
            steps: vec![
                each(Op::Add, 0, 1),
                step(Max, [4; 3]),
                each(Op::Sub, 4, 5),
                each(Op::Exp, 6, 6),
                step(Sum, [7; 3]),
                each(Op::Log, 8, 8),
                each(Op::Sub, 6, 9),
                step(Gather, [10, 3, 3]),
                each(Op::Mul, 11, 2),
                // - weight (softmax - one at the label)
                each(Op::Div, 7, 8),
                each(Op::Mul, 13, 2),
                each(Op::Neg, 14, 14),
                step(ScatterAdd, [15, 3, 2]),
            ],
            results: vec![output(12, [rows, 1]), output(16, size), output(5, [rows, 1])],
        });
        let kernel = kernel.expect("its rows are short");
        assert!(kernel.fits(&arguments[0]));
        let results = kernel.run(arguments);
        let [logits, bias] = [numbers(rows * columns, 1), numbers(columns, 2)];
        let weights = numbers(rows, 3);
        let (mut losses, mut gradients, mut greatest) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..rows {
            let logit = |at: usize| f64::from(logits[row * columns + at] + bias[at]);
            let (label, weight) = (labels[row] as usize, f64::from(weights[row]));
            let sum: f64 = (0..columns).map(|at| logit(at).exp()).sum();
            losses.push(weight * (logit(label) - sum.ln()));
            greatest.push((0..columns).map(logit).fold(f64::NEG_INFINITY, f64::max));
            gradients.extend((0..columns).map(|at| {
                let one = if at == label { 1.0 } else { 0.0 };
                weight * (one - logit(at).exp() / sum)
            }));
        }
        let mut results = results.into_iter();
        let mut next = || results.next().expect("there are three");
        assert_near(next(), losses, &format!("losses of {size:?}"));
        assert_near(next(), gradients, &format!("gradients of {size:?}"));
        assert_near(next(), greatest, &format!("greatest of {size:?}"));
    }
}

#[test]
fn masks_are_read_and_written() {
    if !graphics::adapter() {
        return;
    }
    let device = CubeDevice::default();
    for size @ [rows, columns] in SIZES {
        let values = numbers(rows * columns, 4);
        let set: Vec<bool> = values.iter().map(|number| *number > 0.5).collect();
        let mask = TensorData::new(set.clone(), size).convert_dtype(MASKS);
        let arguments =
            vec![matrix(size, 4), CubeBackend::bool_from_data(mask, &device), matrix([1, 1], 5)];
        use Operation as Op;
        let kernel = Kernel::of_rows(&Rows {
            size,
            arguments: vec![RowReading::Entries, RowReading::Mask, RowReading::Number],
            steps: vec![
                step(RowOperation::Entry(Op::MaskFill(0.25)), [0, 1, 0]),
                step(RowOperation::Sum, [3; 3]),
                step(RowOperation::Entry(Op::Mul), [4, 2, 4]),
                step(RowOperation::Entry(Op::Greater), [3, 5, 3]),
            ],
            results: vec![
                output(5, [rows, 1]),
                RowOutput {
                    result: Output { value: 6, shape: Shape::new(size), dtype: MASKS },
                    is_column: false,
                },
            ],
        });
        let mut results = kernel.expect("its rows are short").run(arguments);
        let filled: Vec<f32> =
            values.iter().zip(&set).map(|(x, set)| if *set { 0.25 } else { *x }).collect();
        let number = f64::from(numbers(1, 5)[0]);
        let sum = |row: &[f32]| number * row.iter().map(|x| f64::from(*x)).sum::<f64>();
        let sums: Vec<_> = filled.chunks(columns).map(sum).collect();
        let made = read_sync(CubeBackend::bool_into_data(results.remove(1))).unwrap();
        let greater = filled.iter().enumerate().map(|(at, x)| f64::from(*x) > sums[at / columns]);
        assert!(made.iter::<bool>().eq(greater), "{size:?}");
        assert_near(results.remove(0), sums, &format!("sums of {size:?}"));
    }
}

/// Beyond the columns there is nothing to read, and nothing is written there; a NaN in a row stays there.
#[test]
fn indices_outside_choose_nothing_and_nan_stays_in_its_row() {
    if !graphics::adapter() {
        return;
    }
    let device = CubeDevice::default();
    let size @ [rows, columns] = [4, 3];
    let mut values = numbers(rows * columns, 6);
    // The first of a row, and another.
    values[columns] = f32::NAN;
    values[3 * columns + 1] = f32::NAN;
    let data = TensorData::new(values.clone(), size);
    let index = TensorData::new(vec![0, 1, 3, -1], [rows, 1]);
    let arguments = vec![
        CubeBackend::float_from_data(data, &device),
        CubeBackend::int_from_data(index, &device),
        matrix([rows, 1], 7),
    ];
    let kernel = Kernel::of_rows(&Rows {
        size,
        arguments: vec![RowReading::Entries, RowReading::Index, RowReading::Column],
        steps: vec![
            step(RowOperation::Gather, [0, 1, 1]),
            step(RowOperation::ScatterAdd, [0, 1, 2]),
            step(RowOperation::Sum, [0; 3]),
            step(RowOperation::Max, [0; 3]),
        ],
        results: vec![
            output(3, [rows, 1]),
            output(4, size),
            output(5, [rows, 1]),
            output(6, [rows, 1]),
        ],
    });
    let results = kernel.expect("its rows are short").run(arguments);
    let [gathered, added, sums, largest] =
        <[CubeTensor; 4]>::try_from(results).expect("there are four");
    // What is not chosen is not read, NaN included.
    assert_eq!(read(gathered), [values[0], values[columns + 1], 0.0, 0.0]);
    let added = read(added);
    let column = numbers(rows, 7);
    assert_eq!(added[0], values[0] + column[0]);
    assert!(added[columns].is_nan() && added[columns + 1] == values[columns + 1] + column[1]);
    assert_eq!(added[2 * columns..3 * columns], values[2 * columns..3 * columns]);
    assert_eq!(added[3 * columns], values[3 * columns]);
    for reduced in [sums, largest] {
        let nan: Vec<_> = read(reduced).iter().map(|number| number.is_nan()).collect();
        assert_eq!(nan, [false, true, false, true]);
    }
}

#[test]
fn long_rows_masks_of_rows_and_constants_that_are_not_finite_are_refused() {
    let rows = |columns, number| Rows {
        size: [2, columns],
        arguments: vec![RowReading::Entries],
        steps: vec![step(RowOperation::Entry(Operation::AddScalar(number)), [0; 3])],
        results: vec![output(1, [2, columns])],
    };
    assert!(Kernel::of_rows(&rows(MOST_COLUMNS, 1.0)).is_some());
    assert!(Kernel::of_rows(&rows(MOST_COLUMNS + 1, 1.0)).is_none());
    assert!(Kernel::of_rows(&rows(2, f64::INFINITY)).is_none());
    let mut mask = rows(2, 1.0);
    mask.results = vec![RowOutput {
        result: Output { value: 1, shape: Shape::new([2, 1]), dtype: MASKS },
        is_column: true,
    }];
    assert!(Kernel::of_rows(&mask).is_none());
}
