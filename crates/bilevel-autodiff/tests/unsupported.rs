//! Operations without a tangent rule panic with their name; a tangent is never dropped silently.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bilevel_autodiff::{Dual, DualTensor};
use burn::backend::ops::*;
use burn::backend::quantization::{QuantScheme, QuantizationParametersPrimitive};
use burn::backend::tensor::{IndexingUpdateOp, IntTensor};
use burn::backend::{
    BackendTypes, BoolDType, FloatDType, IntDType, Shape, TensorData, TensorPrimitive, read_sync,
};
use burn_flex::Flex;

type B = Dual<Flex>;
type Moving = DualTensor<Flex>;

const DEVICE: <Flex as BackendTypes>::Device = burn_flex::FlexDevice;

/// Ones with a tangent.
fn moving(shape: impl Into<Vec<usize>>) -> Moving {
    let ones = fixed(shape).primal().clone();
    DualTensor::new(ones.clone(), ones)
}

fn fixed(shape: impl Into<Vec<usize>>) -> Moving {
    B::float_ones(Shape::from(shape.into()), &DEVICE, FloatDType::F32)
}

fn zeros(shape: impl Into<Vec<usize>>) -> IntTensor<Flex> {
    B::int_zeros(Shape::from(shape.into()), &DEVICE, IntDType::I64)
}

#[track_caller]
fn refuses<T>(name: &str, operation: impl FnOnce() -> T) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(operation)) else {
        panic!("{name} took a tangent");
    };
    let message = panic.downcast_ref::<String>().map_or("", String::as_str);
    let start = format!("Dual<B> has no tangent rule for `{name}");
    assert!(message.starts_with(&start), "{name} panicked with: {message}");
}

#[test]
fn products_and_extrema_by_index() {
    for how in [IndexingUpdateOp::Mul, IndexingUpdateOp::Min, IndexingUpdateOp::Max] {
        refuses("float_scatter_nd", || {
            B::float_scatter_nd(moving([3, 2]), zeros([1, 1]), fixed([1, 2]), how)
        });
        refuses("float_scatter_nd", || {
            B::float_scatter_nd(fixed([3, 2]), zeros([1, 1]), moving([1, 2]), how)
        });
        for (x, values) in [(moving([3, 2]), fixed([1, 2])), (fixed([3, 2]), moving([1, 2]))] {
            let (y, more) = (x.clone(), values.clone());
            refuses("float_scatter ", || B::float_scatter(0, x, zeros([1, 2]), values, how));
            refuses("float_select_assign", || B::float_select_assign(y, 0, zeros([1]), more, how));
        }
    }
}

#[test]
fn deformable_convolution() {
    let options = || DeformConvOptions::new([1, 1], [0, 0], [1, 1], 1, 1);
    let (x, offset, weight) = ([1, 1, 2, 2], [1, 2, 2, 2], [1, 1, 1, 1]);
    refuses("deform_conv2d (offset)", || {
        B::deform_conv2d(fixed(x), moving(offset), fixed(weight), None, None, options())
    });
    let backward = |x, offset, weight, grad| {
        refuses("deform_conv2d_backward", || {
            B::deform_conv2d_backward(x, offset, weight, None, None, grad, options())
        });
    };
    backward(moving(x), fixed(offset), fixed(weight), fixed(x));
    backward(fixed(x), moving(offset), fixed(weight), fixed(x));
    backward(fixed(x), fixed(offset), moving(weight), fixed(x));
    backward(fixed(x), fixed(offset), fixed(weight), moving(x));
}

#[test]
fn the_fused_backward_of_ctc() {
    let backward = |x, grad| {
        refuses("ctc_loss_backward", || {
            B::ctc_loss_backward(x, zeros([1, 1]), zeros([1]), zeros([1]), grad, 0)
        });
    };
    backward(moving([3, 1, 2]), fixed([1]));
    backward(fixed([3, 1, 2]), moving([1]));
}

#[test]
fn quantisation() {
    let scheme = QuantScheme::default();
    let scales = |scales| QuantizationParametersPrimitive { scales, global: None };
    refuses("quantize", || B::quantize(moving([4]), &scheme, scales(fixed([1]))));
    refuses("quantize (scales)", || B::quantize(fixed([4]), &scheme, scales(moving([1]))));
    refuses("quantize (global scale)", || {
        let parameters =
            QuantizationParametersPrimitive { scales: fixed([1]), global: Some(moving([1])) };
        B::quantize(fixed([4]), &scheme, parameters)
    });
    refuses("quantize_dynamic", || B::quantize_dynamic(moving([4]), &scheme));
    let (x, y) = (moving([2, 2]), fixed([2, 2]));
    refuses("q_matmul", || B::q_matmul(TensorPrimitive::Float(x), TensorPrimitive::Float(y)));
}

// ---- constants -----------------------------------------------------------------------------------

#[test]
fn a_detached_tensor_is_a_constant() {
    assert!(B::float_detach(moving([2])).tangent().is_none());
}

#[test]
fn numbers_that_were_integers_booleans_or_quantised_are_constants() {
    let booleans = B::int_equal_elem(zeros([2]), 0.into(), BoolDType::Native);
    assert!(B::int_into_float(zeros([2]), FloatDType::F32).tangent().is_none());
    assert!(B::bool_into_float(booleans, FloatDType::F32).tangent().is_none());
    let quantised = B::quantize_dynamic(fixed([4]), &QuantScheme::default());
    assert!(B::dequantize(quantised, FloatDType::F32).tangent().is_none());
}

#[test]
fn a_transaction_reads_values() {
    let transaction =
        TransactionPrimitive::<B>::new(vec![moving([2])], vec![], vec![zeros([2])], vec![]);
    let data = read_sync(B::tr_execute(transaction)).expect("on the host");
    assert_eq!(data.read_floats[0].try_to_vec::<f32>().expect("in f32"), [1.0, 1.0]);
    assert_eq!(data.read_ints[0].try_to_vec::<i64>().expect("in i64"), [0, 0]);
}

#[test]
fn a_product_has_its_tangent_at_zeros_too() {
    let of = |data: [f32; 3]| Flex::float_from_data(TensorData::from(data), &DEVICE);
    let x = DualTensor::new(of([0.0, 2.0, 3.0]), of([1.0, 10.0, 100.0]));
    let tangent = |x: Moving| {
        let data = Flex::float_into_data(x.tangent().expect("it moves").clone());
        read_sync(data).expect("on the host").try_to_vec::<f32>().expect("in f32")
    };
    assert_eq!(tangent(B::float_prod(x.clone())), [6.0]);
    assert_eq!(tangent(B::float_prod_dim(x.clone(), 0)), [6.0]);
    assert_eq!(tangent(B::float_cumprod(x, 0)), [1.0, 2.0, 6.0]);
}
