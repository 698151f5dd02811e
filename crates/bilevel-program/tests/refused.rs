//! What cannot be recorded is refused, and the remedy is accepted: the table in the documentation of the crate, in f64
//! on flex.

use std::cell::Cell;
use std::sync::Once;

use bilevel_program::{Layout, TraceError, Vector, grad, hvp, stop_gradient};
use burn::module::{Module, Param};
use burn::nn::DropoutConfig;
use burn::tensor::quantization::QuantScheme;
use burn::tensor::{DType, Device, Distribution, FloatDType, IntDType, Tensor};

type Variable = Param<Tensor<1>>;

fn device() -> Device {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

const POINT: [f64; 3] = [0.5, -1.5, 2.0];

fn variable() -> Variable {
    Param::from_tensor(Tensor::from_floats(POINT, &device()))
}

#[track_caller]
fn refused(loss: impl Fn(&Variable) -> Tensor<1>) -> TraceError {
    let y = variable();
    let v = Vector::from_module(&Layout::of(&y), &y);
    let error = grad(&y, &loss).expect_err("it is refused");
    println!("{error}");
    hvp(&y, &v, &loss).expect_err("and so are its products");
    error
}

#[track_caller]
fn gradient(loss: impl Fn(&Variable) -> Tensor<1>) -> Vec<f64> {
    grad(&variable(), loss).unwrap().to_vec()
}

#[test]
fn reading_data_is_refused_and_masks_are_not() {
    let read = |y: &Variable| {
        let sum = y.val().sum().into_scalar::<f64>();
        if sum > 0.0 { y.val().sum() } else { y.val().powi_scalar(2).sum() }
    };
    assert!(matches!(refused(read), TraceError::Panic { .. }));
    let masked = gradient(|y| y.val().mask_fill(y.val().lower_elem(0.0), 0.0).powi_scalar(2).sum());
    assert_eq!(masked, [1.0, 0.0, 4.0]);
}

#[test]
fn branching_by_state_is_refused_in_builds_with_debug_assertions() {
    if cfg!(debug_assertions) {
        let calls = Cell::new(0);
        let flips = |y: &Variable| {
            calls.set(calls.get() + 1);
            if calls.get() % 2 == 0 { y.val().sum() } else { y.val().powi_scalar(2).sum() }
        };
        assert!(matches!(refused(flips), TraceError::DependsOnValues { .. }));
    }
}

#[test]
fn random_numbers_are_refused_and_those_of_before_are_not() {
    let noisy = |y: &Variable| {
        let y = y.val();
        let noise = Tensor::random(y.shape(), Distribution::Default, &y.device());
        (y * noise).sum()
    };
    assert!(matches!(refused(noisy), TraceError::Operation { .. }));
    let dropout = DropoutConfig::new(0.5).init();
    let dropped = |y: &Variable| dropout.forward(y.val()).sum();
    assert!(matches!(refused(dropped), TraceError::Operation { .. }));
    let seeded = |y: &Variable| {
        y.device().seed(1);
        y.val().sum()
    };
    assert!(matches!(refused(seeded), TraceError::Panic { .. }));
    let noise = Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device());
    let handed = gradient(|y| (y.val() * noise.clone().to_device(&y.device())).sum());
    assert_eq!(handed, [1.0, 2.0, 3.0]);
}

#[test]
fn detaching_is_refused_and_stopping_is_not() {
    let detached = |y: &Variable| (y.val() * y.val().detach()).sum();
    assert!(matches!(refused(detached), TraceError::Detached { .. }));
    assert_eq!(gradient(|y| (y.val() * stop_gradient(y.val())).sum()), POINT);
    // Nothing is lost where nothing depends on a variable.
    assert_eq!(gradient(|y| (y.val() * y.val().ones_like().detach()).sum()), [1.0; 3]);
}

#[test]
fn tensors_of_other_devices_are_refused() {
    let far = Tensor::<1>::from_floats([1.0, 2.0, 3.0], &device());
    assert!(matches!(refused(|y| (y.val() * far.clone()).sum()), TraceError::Panic { .. }));
    let made = gradient(|y| (y.val() * Tensor::from_floats([1.0, 2.0, 3.0], &y.device())).sum());
    assert_eq!(made, [1.0, 2.0, 3.0]);
}

#[test]
fn shapes_that_depend_on_values_are_refused() {
    let chosen = |y: &Variable| {
        let places = y.val().greater_elem(0.0).argwhere().flatten::<1>(0, 1);
        y.val().select(0, places).sum()
    };
    let error = refused(chosen);
    assert!(matches!(error, TraceError::Operation { .. } | TraceError::Panic { .. }), "{error}");
}

#[test]
fn quantised_tensors_are_refused() {
    let coarse =
        |y: &Variable| y.val().quantize_dynamic(&QuantScheme::default()).dequantize().sum();
    let error = refused(coarse);
    assert!(matches!(error, TraceError::Operation { .. } | TraceError::Panic { .. }), "{error}");
}

#[derive(Module, Debug)]
struct Mixed {
    double: Param<Tensor<1>>,
    single: Param<Tensor<1>>,
}

#[test]
fn several_element_types_are_refused() {
    let single = Tensor::<1>::from_floats(POINT, &device()).cast(DType::F32);
    let net = Mixed { double: variable(), single: Param::from_tensor(single) };
    let error = grad(&net, |net| net.double.val().sum()).unwrap_err();
    assert!(matches!(&error, TraceError::MixedTypes { path, .. } if path == "single"), "{error}");
}

#[test]
fn a_loss_of_several_numbers_is_refused() {
    assert_eq!(refused(|y| y.val()), TraceError::NotOneNumber { shape: vec![3] });
}
