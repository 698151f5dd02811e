//! Fused operations compared with single ones.

use burn::backend::ops::{ActivationOps, FloatTensorOps};
use burn::backend::{BoolDType, Scalar};

use super::*;
use crate::FastFlex;

fn tensor<T: Real>(sizes: [usize; 2], salt: usize) -> FlexTensor {
    let len = sizes[0] * sizes[1];
    let number = |at: usize| T::of(((at * 37 + salt * 11) % 101) as f64 / 25.0 - 2.0);
    FlexTensor::new(
        Bytes::from_elems((0..len).map(number).collect::<Vec<_>>()),
        Layout::contiguous(Shape::new(sizes)),
        T::dtype(),
    )
}

/// `tanh(a + row) where a > column, and b elsewhere, times the sigmoid of b`, and the mask.
fn together(sizes: [usize; 2], dtype: DType) -> Fused {
    let shape = Shape::new(sizes);
    let steps = [
        (Operation::Add, [0, 2, 0]),
        (Operation::Tanh, [4, 4, 4]),
        (Operation::LowerEqual, [0, 3, 0]),
        (Operation::MaskWhere, [5, 6, 1]),
        (Operation::Sigmoid, [1, 1, 1]),
        (Operation::Mul, [7, 8, 7]),
        (Operation::MulScalar(0.3), [9, 9, 9]),
    ];
    let result = |value, dtype| Output { value, shape: shape.clone(), dtype };
    Fused::new(
        sizes[0] * sizes[1],
        dtype,
        vec![Reading::Each, Reading::Each, Reading::Repeated, Reading::Runs(sizes[1])],
        steps.map(|(operation, of)| Instruction { operation, of }).to_vec(),
        vec![
            result(10, dtype),
            result(6, DType::Bool(burn::tensor::BoolStore::Native)),
            result(5, dtype),
        ],
    )
}

fn one_by_one([a, b, row, column]: [FlexTensor; 4]) -> [FlexTensor; 3] {
    let tanh = FastFlex::float_tanh(FastFlex::float_add(a.clone(), row));
    let wide = FastFlex::float_expand(column, a.layout().shape().clone());
    let mask = FastFlex::float_lower_equal(a, wide.to_contiguous(), BoolDType::Native);
    let chosen = FastFlex::float_mask_where(tanh.clone(), mask.clone(), b.clone());
    let product = FastFlex::float_mul(chosen, FastFlex::sigmoid(b));
    [FastFlex::float_mul_scalar(product, Scalar::Float(0.3)), mask, tanh]
}

fn check<T: Real>(sizes: [usize; 2]) {
    let [rows, columns] = sizes;
    let made = || {
        let salted = [(sizes, 1), (sizes, 2), ([1, columns], 3), ([rows, 1], 4)];
        salted.map(|(sizes, salt)| tensor::<T>(sizes, salt))
    };
    let expected = one_by_one(made());
    let fused = together(sizes, T::dtype());
    let shared = made();
    // The arguments have no other owner, or the caller keeps them; a view is made dense.
    let turned = shared[0].transpose(0, 1).to_contiguous().transpose(0, 1);
    let [_, b, row, column] = shared.clone();
    let calls = [made().to_vec(), shared.to_vec(), vec![turned, b, row, column]];
    for arguments in calls {
        for (found, expected) in fused.run(arguments).iter().zip(&expected) {
            assert_eq!(found.dtype(), expected.dtype());
            assert_eq!(found.layout().shape(), expected.layout().shape());
            assert!(found.bytes() == expected.bytes(), "{sizes:?} in {:?}", T::dtype());
        }
    }
    assert!(shared.iter().zip(made()).all(|(a, b)| a.bytes() == b.bytes()), "arguments stay");
}

#[test]
fn operations_together_are_those_one_by_one_bit_for_bit() {
    for sizes in [[1, 1], [3, 5], [40, 33], [1, 3000], [700, 300]] {
        check::<f32>(sizes);
        check::<f64>(sizes);
    }
}

/// `relu's backward pass of a product, plus another product and a column`, as one pass.
fn check_products<T: Real>([rows, columns]: [usize; 2], terms: [usize; 2]) {
    let sizes = [rows, columns];
    let shape = Shape::new(sizes);
    let product = |terms| Reading::Product { terms, columns };
    let steps = [
        (Operation::ReluBackward, [1, 0, 0]),
        (Operation::Add, [4, 2, 4]),
        (Operation::Sub, [5, 3, 5]),
    ];
    let fused = Fused::new(
        rows * columns,
        T::dtype(),
        vec![product(terms[0]), Reading::Each, product(terms[1]), Reading::Runs(columns)],
        steps.map(|(operation, of)| Instruction { operation, of }).to_vec(),
        vec![Output { value: 6, shape: shape.clone(), dtype: T::dtype() }],
    );
    let factors = |terms, salt| {
        let turned = tensor::<T>([columns, terms], salt + 1).transpose(0, 1);
        [tensor::<T>([rows, terms], salt), turned]
    };
    let ([a, b], [c, d]) = (factors(terms[0], 1), factors(terms[1], 3));
    let (each, column) = (tensor::<T>(sizes, 5), tensor::<T>([rows, 1], 6));
    let wide = FastFlex::float_expand(column.clone(), shape).to_contiguous();
    let [first, second] =
        [(&a, &b), (&c, &d)].map(|(a, b)| FastFlex::float_matmul(a.clone(), b.clone()));
    let sum = FastFlex::float_add(FastFlex::relu_backward(each.clone(), first), second);
    let expected = FastFlex::float_sub(sum, wide);
    let found = fused.run(vec![a, b, each, c, d, column]);
    assert!(found[0].bytes() == expected.bytes(), "{sizes:?}, {terms:?} terms of {:?}", T::dtype());
}

/// Of sizes for which `gemm` adds one term after the other, as passes do. The last has more than two chunks, whose ends are
/// within rows.
#[test]
fn products_in_a_pass_have_the_bits_of_products_in_memory() {
    for sizes in [[40, 33], [9, 200], [700, 300]] {
        for terms in [[3, 16], [10, 10], [7, 5]] {
            check_products::<f32>(sizes, terms);
            check_products::<f64>(sizes, terms);
        }
    }
}

#[test]
#[should_panic(expected = "as many entries as are read")]
fn factors_of_other_sizes_are_refused() {
    let step = Instruction { operation: Operation::Neg, of: [0; 3] };
    let result = Output { value: 1, shape: Shape::new([3, 4]), dtype: DType::F32 };
    let product = Reading::Product { terms: 2, columns: 4 };
    let fused = Fused::new(12, DType::F32, vec![product], vec![step], vec![result]);
    fused.run(vec![tensor::<f32>([3, 2], 0), tensor::<f32>([4, 4], 0)]);
}
