//! The gradient check, in f64 on flex: it accepts correct derivatives and names wrong ones.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use bilevel_program::{Layout, Report, TraceError, Vector, check, stop_gradient};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{softplus, tanh};
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, FloatDType, IntDType, Tensor, TensorData};

/// Burn fixes the element types of a device once per process.
fn device() -> Device {
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

/// `net` with variables that no random generator chose.
fn settled<M: Module>(net: M) -> M {
    let layout = Layout::of(&net);
    let values: Vec<_> = (0..layout.size()).map(|i| 0.6 * (1.3 * i as f64 + 0.7).sin()).collect();
    Vector::from_slice(&layout, &values, &device()).write_into(net)
}

/// Numbers in [-1, 1] in a fixed irregular order.
fn numbers<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let values = (0..shape.iter().product()).map(|i: usize| (1.7 * i as f64 + 0.3).sin());
    Tensor::from_data(TensorData::new(values.collect::<Vec<_>>(), shape), device)
}

// ---- what is right passes ------------------------------------------------------------------------

#[derive(Module, Debug)]
struct Mlp {
    first: Linear,
    second: Linear,
}

fn fit(net: &Mlp) -> Tensor<1> {
    let device = net.first.weight.device();
    let output = net.second.forward(tanh(net.first.forward(numbers([5, 3], &device))));
    (output - numbers([5, 2], &device)).powi_scalar(2).mean()
}

fn mlp() -> Mlp {
    let device = device();
    settled(Mlp {
        first: LinearConfig::new(3, 4).init(&device),
        second: LinearConfig::new(4, 2).init(&device),
    })
}

/// `w + w^3 - 0.019 w^2` at 0: its terms of second and third order cancel at w = 0.019, where the remainder is measured,
/// and a line through its logarithms shows neither order.
#[test]
fn terms_that_cancel_where_they_are_measured_raise_no_false_alarm() {
    let crossing = |w: &Param<Tensor<1>>| {
        let w = w.val();
        w.clone() + w.clone().powi_scalar(3) - w.powi_scalar(2) * 0.019
    };
    let at_zero = Param::from_tensor(Tensor::<1>::zeros([1], &device()));
    check(&at_zero, crossing).unwrap().assert_ok();
}

#[test]
fn a_network_passes_and_every_test_is_made_of_every_parameter() {
    let report = check(&mlp(), fit).unwrap();
    report.assert_ok();
    let paths = ["first.weight", "first.bias", "second.weight", "second.bias"];
    for test in ["gradient", "hessian"] {
        let lines = report.findings().iter().filter(|finding| finding.test == test);
        assert!(lines.map(|finding| finding.parameter.as_deref().unwrap()).eq(paths));
    }
    let rest: Vec<_> = report.findings()[8..].iter().map(|finding| finding.test).collect();
    assert_eq!(rest, ["adjoint", "symmetry", "order 1", "order 2", "order 3"]);
}

#[derive(Module, Debug)]
struct Conv {
    filters: Conv2d,
    norm: BatchNorm,
    head: Linear,
}

fn classify(net: &Conv) -> Tensor<1> {
    let images = numbers([3, 2, 6, 6], &net.head.weight.device());
    let filtered = net.norm.forward(net.filters.forward(images));
    let pooled = avg_pool2d(softplus(filtered, 1.0), AvgPoolOptions::new([2, 2]));
    net.head.forward(pooled.flatten::<2>(1, 3)).powi_scalar(2).mean()
}

#[test]
fn a_convolutional_network_with_batch_normalisation_passes_and_keeps_its_statistics() {
    let device = device();
    let net = settled(Conv {
        filters: Conv2dConfig::new([2, 3], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(&device),
        norm: BatchNormConfig::new(3).init(&device),
        head: LinearConfig::new(27, 2).init(&device),
    });
    check(&net, classify).unwrap().assert_ok();
    let mean = net.norm.running_mean.value_sync().into_data();
    assert!(mean.iter::<f64>().eq([0.0; 3]));
}

#[derive(Module, Debug)]
struct Point {
    x: Param<Tensor<1>>,
    unused: Param<Tensor<1>>,
}

#[test]
fn derivatives_that_vanish_raise_no_false_alarm() {
    let device = device();
    for x in [Tensor::zeros([3], &device), numbers([3], &device)] {
        let unused = Param::from_tensor(numbers([2], &device));
        let point = Point { x: Param::from_tensor(x), unused };
        check(&point, |p| p.x.val().sum()).unwrap().assert_ok();
        check(&point, |p| p.x.val().powi_scalar(2).sum()).unwrap().assert_ok();
        check(&point, |p| numbers([1], &p.x.device())).unwrap().assert_ok();
    }
}

// ---- what is wrong is named ----------------------------------------------------------------------

fn failed(report: &Report) -> Vec<&str> {
    let mut tests: Vec<_> =
        report.findings().iter().filter(|x| !x.is_ok()).map(|x| x.test).collect();
    tests.dedup();
    tests
}

fn stopped(net: &Mlp) -> Tensor<1> {
    fit(net) + stop_gradient(net.second.weight.val()).powi_scalar(2).mean()
}

#[test]
fn a_term_that_is_held_constant_is_reported_with_its_parameter() {
    let report = check(&mlp(), stopped).unwrap();
    assert_eq!(report.faulty(), ["second.weight"], "{report}");
    assert_eq!(failed(&report), ["gradient", "order 2", "order 3"], "{report}");
    assert!(report.to_string().contains("at fault: second.weight"), "{report}");
}

#[test]
fn an_error_of_a_millionth_is_seen() {
    let report = check(&mlp(), |net| {
        fit(net) + stop_gradient(net.first.bias.as_ref().unwrap().val()).sum() * 1e-6
    });
    let report = report.unwrap();
    assert_eq!(report.faulty(), ["first.bias"], "{report}");
}

#[test]
fn a_detached_term_is_refused_with_its_parameter() {
    let detached = |net: &Mlp| fit(net) + net.second.weight.val().detach().powi_scalar(2).mean();
    let error = check(&mlp(), detached).unwrap_err();
    assert!(
        matches!(&error, TraceError::Detached { path, .. } if path == "second.weight"),
        "{error}"
    );
}

#[test]
fn a_loss_that_drifts_is_refused() {
    let evaluations = AtomicU32::new(0);
    let restless = |net: &Mlp| {
        let drift = f64::from(evaluations.fetch_add(1, Ordering::Relaxed)).sin();
        fit(net) * (1.0 + 1e-3 * drift)
    };
    let error = check(&mlp(), restless).unwrap_err();
    assert!(matches!(error, TraceError::DependsOnValues { .. }), "{error}");
}

/// Its two recordings are the same; what Burn computes later is not.
#[test]
fn a_loss_that_changes_after_it_was_recorded_does_not_pass() {
    let evaluations = AtomicU32::new(0);
    let late = |net: &Mlp| match evaluations.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => fit(net),
        _ => fit(net) * 1.001,
    };
    assert!(!check(&mlp(), late).unwrap().is_ok());
}

#[test]
fn nan_does_not_pass() {
    let report = check(&mlp(), |net| (fit(net) - 1e9).sqrt()).unwrap();
    assert!(report.findings()[..8].iter().all(|finding| !finding.is_ok()), "{report}");
}

#[test]
#[should_panic(expected = "the derivatives are not those of the loss\ntest      parameter")]
fn asserting_a_wrong_report_panics_with_the_table() {
    check(&mlp(), stopped).unwrap().assert_ok();
}

#[test]
fn a_frozen_module_has_nothing_to_check() {
    let error = check(&mlp().freeze(), fit).expect_err("there is nothing to differentiate in");
    assert!(error.to_string().starts_with("the module has no trainable parameters"), "{error}");
}
