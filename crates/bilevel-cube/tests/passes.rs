//! Operations in one kernel compared with the same on the CPU; skipped if there is no graphics adapter.

#[path = "../../bilevel-autodiff/tests/graphics/mod.rs"]
mod graphics;

use bilevel_cube::Kernel;
use bilevel_flex::fused::{Fused, Instruction, Operation, Output, Reading};
use bilevel_flex::{FastFlex, FlexDevice};
use burn::backend::ops::{BoolTensorOps, FloatTensorOps};
use burn::backend::read_sync;
use burn::tensor::{BoolStore, DType, Shape, TensorData};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};

/// Numbers between -2 and 2, some of them 0, 1 or -1.
fn numbers(len: usize, salt: usize) -> Vec<f32> {
    (0..len).map(|at| ((at * 37 + salt * 11) % 17) as f32 / 4.0 - 2.0).collect()
}

/// Runs both on the same arguments; masks go last.
fn compare(
    [rows, columns]: [usize; 2],
    arguments: &[Reading],
    steps: &[Instruction],
    results: &[(usize, bool)],
) {
    let device = CubeDevice::default();
    let bool_dtype = DType::Bool(BoolStore::U32);
    let of = |bools: DType| {
        let shape = Shape::new([rows, columns]);
        let results = results.iter().map(|&(value, mask)| {
            let dtype = if mask { bools } else { DType::F32 };
            Output { value, shape: shape.clone(), dtype }
        });
        let (arguments, steps) = (arguments.to_vec(), steps.to_vec());
        Fused::new(rows * columns, DType::F32, arguments, steps, results.collect())
    };
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for (salt, reading) in arguments.iter().enumerate() {
        let shape = match reading {
            Reading::Each | Reading::Mask => [rows, columns],
            Reading::Repeated => [1, columns],
            Reading::Runs(_) => [rows, 1],
            Reading::Product { .. } => panic!("no kernel reads products"),
        };
        let numbers = numbers(shape[0] * shape[1], salt);
        if *reading == Reading::Mask {
            let set: Vec<bool> = numbers.iter().map(|number| *number > 0.0).collect();
            let data = TensorData::new(set, shape);
            here.push(FastFlex::bool_from_data(data.clone(), &FlexDevice));
            there.push(CubeBackend::bool_from_data(data.convert_dtype(bool_dtype), &device));
        } else {
            let data = TensorData::new(numbers, shape);
            here.push(FastFlex::float_from_data(data.clone(), &FlexDevice));
            // As a view whose rows are columns.
            let turned = CubeBackend::float_from_data(data, &device);
            let turned = CubeBackend::float_transpose(turned);
            there.push(CubeBackend::float_transpose(into_contiguous(turned)));
        }
    }
    let expected = of(DType::Bool(BoolStore::Native)).run(here);
    let fused = of(bool_dtype);
    let entries: Vec<_> = there.iter().map(|tensor| tensor.meta.num_elements()).collect();
    let kernel = Kernel::new(&fused, &entries).expect("it is finite and in f32");
    assert!(kernel.fits(&there[0]));
    for ((found, expected), (_, mask)) in kernel.run(there).into_iter().zip(expected).zip(results) {
        if *mask {
            let found = read_sync(CubeBackend::bool_into_data(found)).unwrap();
            let expected = read_sync(FastFlex::bool_into_data(expected)).unwrap();
            let bools = |data: TensorData| data.iter::<bool>().collect::<Vec<_>>();
            assert_eq!(bools(found), bools(expected), "{steps:?}");
        } else {
            let found = read_sync(CubeBackend::float_into_data(found)).unwrap();
            let expected = read_sync(FastFlex::float_into_data(expected)).unwrap();
            for (found, expected) in found.iter::<f32>().zip(expected.iter::<f32>()) {
                let near = (found - expected).abs() <= 3e-6 * expected.abs().max(1.0);
                let same = found == expected || (found.is_nan() && expected.is_nan());
                assert!(near || same, "{steps:?}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn a_kernel_computes_what_the_processor_does() {
    use Operation::*;
    if !graphics::adapter() {
        return;
    }
    let sizes = [37, 29];
    let two = [Reading::Each, Reading::Each];
    let (numbers, masks): (Vec<_>, Vec<_>) = [
        (Add, false),
        (Sub, false),
        (Mul, false),
        (AddScalar(0.5), false),
        (SubScalar(0.5), false),
        (MulScalar(-3.0), false),
        (DivScalar(3.0), false),
        (Neg, false),
        (Abs, false),
        (Square, false),
        (Exp, false),
        (Tanh, false),
        (Relu, false),
        (ReluBackward, false),
        (Sigmoid, false),
        (SigmoidBackward, false),
        (Equal, true),
        (NotEqual, true),
        (Greater, true),
        (GreaterEqual, true),
        (Lower, true),
        (LowerEqual, true),
        (EqualElem(0.25), true),
        (NotEqualElem(0.25), true),
        (GreaterElem(0.25), true),
        (GreaterEqualElem(0.25), true),
        (LowerElem(0.25), true),
        (LowerEqualElem(0.25), true),
    ]
    .into_iter()
    .partition(|(_, mask)| !mask);
    // Alone, so that no kernel binds more tensors than a device gives it.
    for (operation, mask) in numbers.into_iter().chain(masks) {
        compare(sizes, &two, &[Instruction { operation, of: [0, 1, 0] }], &[(2, mask)]);
    }
    let positive = [
        Instruction { operation: Square, of: [0; 3] },
        Instruction { operation: AddScalar(0.25), of: [2; 3] },
    ];
    for operation in [Sqrt, Log, Recip] {
        let steps = [&positive[..], &[Instruction { operation, of: [3; 3] }]].concat();
        compare(sizes, &two, &steps, &[(4, false)]);
    }
    let steps = [&positive[..], &[Instruction { operation: Div, of: [1, 3, 0] }]].concat();
    compare(sizes, &two, &steps, &[(4, false)]);
    let masked = [Reading::Each, Reading::Each, Reading::Mask];
    for operation in [MaskFill(0.75), MaskWhere] {
        compare(sizes, &masked, &[Instruction { operation, of: [0, 2, 1] }], &[(3, false)]);
    }
}

#[test]
fn rows_columns_and_several_results_are_read_and_written() {
    if !graphics::adapter() {
        return;
    }
    for sizes in [[1, 1], [3, 5], [1, 300], [70, 300]] {
        let readings = [Reading::Each, Reading::Each, Reading::Repeated, Reading::Runs(sizes[1])];
        let steps = [
            (Operation::Add, [0, 2, 0]),
            (Operation::Tanh, [4, 4, 4]),
            (Operation::LowerEqual, [0, 3, 0]),
            (Operation::MaskWhere, [5, 6, 1]),
            (Operation::Sigmoid, [1, 1, 1]),
            (Operation::Mul, [7, 8, 7]),
            (Operation::MulScalar(0.3), [9, 9, 9]),
        ];
        let steps = steps.map(|(operation, of)| Instruction { operation, of });
        compare(sizes, &readings, &steps, &[(10, false), (6, true), (5, false)]);
    }
}

/// As runtimes with pitched memory make them.
#[test]
fn a_row_in_a_longer_buffer_is_repeated_by_its_entries() {
    if !graphics::adapter() {
        return;
    }
    let device = CubeDevice::default();
    let from =
        |numbers, shape| CubeBackend::float_from_data(TensorData::new(numbers, shape), &device);
    let mut row = from(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, -1.0, -1.0, -1.0], [1, 8]);
    row.meta.shape_mut()[1] = 5;
    let zeros = from(vec![0.0_f32; 15], [3, 5]);
    let result = Output { value: 2, shape: Shape::new([3, 5]), dtype: DType::F32 };
    let step = Instruction { operation: Operation::Add, of: [0, 1, 0] };
    let readings = vec![Reading::Each, Reading::Repeated];
    let fused = Fused::new(15, DType::F32, readings, vec![step], vec![result]);
    let kernel = Kernel::new(&fused, &[15, 5]).expect("it is finite and in f32");
    let sum = kernel.run(vec![zeros, row]).remove(0);
    let sum: Vec<f32> = read_sync(CubeBackend::float_into_data(sum)).unwrap().iter().collect();
    assert_eq!(sum, [1.0, 2.0, 3.0, 4.0, 5.0].repeat(3));
}

#[test]
fn what_a_shader_cannot_state_is_no_kernel() {
    let of = |dtype, number| {
        let result = Output { value: 1, shape: Shape::new([4]), dtype };
        let step = Instruction { operation: Operation::AddScalar(number), of: [0; 3] };
        let fused = Fused::new(4, dtype, vec![Reading::Each], vec![step], vec![result]);
        Kernel::new(&fused, &[4]).is_some()
    };
    assert!(of(DType::F32, 1.0));
    assert!(!of(DType::F32, f64::INFINITY) && !of(DType::F32, 1e300) && !of(DType::F64, 1.0));
}

/// Results have the order of axes in memory that all arguments share; otherwise they are row-major.
#[test]
fn tensors_whose_axes_are_in_another_order_stay_so() {
    if !graphics::adapter() {
        return;
    }
    let device = CubeDevice::default();
    let shape = [3, 4, 5, 1, 2];
    let len = shape.iter().product();
    // A column over the first two axes, and a row of the others.
    let (column, row) = ([3, 4, 1, 1, 1], [1, 1, 5, 1, 2]);
    let masks = DType::Bool(BoolStore::U32);
    for (one, other) in [
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([0, 2, 3, 4, 1], [0, 2, 3, 4, 1]),
        ([4, 3, 2, 1, 0], [4, 3, 2, 1, 0]),
        ([2, 0, 4, 1, 3], [2, 0, 4, 1, 3]),
        ([0, 2, 3, 4, 1], [0, 1, 2, 3, 4]),
        ([0, 2, 3, 4, 1], [4, 3, 2, 1, 0]),
    ] {
        let from = |values: &[f32], shape: [usize; 5]| {
            CubeBackend::float_from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        // With its axes in this order in memory.
        let place = |tensor, axes: [usize; 5]| {
            let mut back = [0; 5];
            axes.iter().enumerate().for_each(|(at, &axis)| back[axis] = at);
            permute(into_contiguous(permute(tensor, &axes)), &back)
        };
        let [a, b] = [1, 2].map(|salt| numbers(len, salt));
        let [c, r] = [(12, 3), (10, 4)].map(|(len, salt)| numbers(len, salt));
        let set: Vec<bool> = b.iter().map(|number| *number > 0.5).collect();
        let set = TensorData::new(set, shape).convert_dtype(masks);
        let set = place(CubeBackend::bool_from_data(set, &device), one);
        let arguments = vec![
            place(from(&a, shape), one),
            place(from(&b, shape), other),
            from(&c, column),
            from(&r, row),
            set,
        ];
        // One axis has one entry, whose stride means nothing.
        let strides = |tensor: &CubeTensor| {
            let strides = tensor.meta.strides();
            [0, 1, 2, 4].map(|axis| strides[axis])
        };
        let shared = strides(&arguments[0]);
        let step = |operation, of| Instruction { operation, of };
        let steps = vec![
            step(Operation::Add, [0, 1, 0]),
            step(Operation::Mul, [5, 2, 5]),
            step(Operation::Sub, [6, 3, 6]),
            step(Operation::MaskFill(0.25), [7, 4, 7]),
            step(Operation::Greater, [8, 0, 8]),
        ];
        let readings =
            vec![Reading::Each, Reading::Each, Reading::Runs(10), Reading::Repeated, Reading::Mask];
        let result = |value, dtype| Output { value, shape: Shape::new(shape), dtype };
        let results = vec![result(8, DType::F32), result(9, masks)];
        let fused = Fused::new(len, DType::F32, readings, steps, results);
        let kernel = Kernel::new(&fused, &[len, len, 12, 10, len]).expect("it is in f32");
        let mut found = kernel.run(arguments);
        let (mask, number) = (found.remove(1), found.remove(0));
        if one == other {
            assert_eq!([strides(&number), strides(&mask)], [shared; 2]);
        } else {
            assert!(number.is_contiguous() && mask.is_contiguous());
        }
        let expected: Vec<_> = (0..len)
            .map(|at| match b[at] > 0.5 {
                true => 0.25,
                false => (a[at] + b[at]) * c[at / 10] - r[at % 10],
            })
            .collect();
        let number = read_sync(CubeBackend::float_into_data(number)).unwrap();
        let mask = read_sync(CubeBackend::bool_into_data(mask)).unwrap();
        // Quarters: the arithmetic is exact.
        assert!(number.iter::<f32>().eq(expected.iter().copied()), "{one:?} and {other:?}");
        let greater = expected.iter().zip(&a).map(|(x, a)| x > a);
        assert!(mask.iter::<bool>().eq(greater), "{one:?} and {other:?}");
    }
}
