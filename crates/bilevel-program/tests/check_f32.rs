//! The gradient check in f32, on flex and, with the feature `wgpu`, there: no false alarm at its looser tolerances, and
//! gross errors found. wgpu is skipped if there is no graphics adapter.

use std::sync::Arc;

use bilevel_program::{Layout, Vector, check, stop_gradient};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, tanh};
use burn::tensor::{Device, Int, Tensor, TensorData};

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    norm: LayerNorm,
    second: Linear,
    third: Linear,
}

fn fit(net: &Net) -> Tensor<1> {
    let device = net.first.weight.device();
    let pixels: Vec<_> = (0..32 * 50).map(|i| (1.7 * i as f64).sin()).collect();
    let input = Tensor::<2>::from_data(TensorData::new(pixels, [32, 50]), &device);
    let labels: Vec<_> = (0..32).map(|i| i * 7 % 10).collect();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [32]), &device);
    let hidden = net.norm.forward(tanh(net.first.forward(input)));
    let logits = net.third.forward(Gelu::new().forward(net.second.forward(hidden)));
    CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
}

/// The loss, with this part of an extra term in one parameter held constant.
fn training(stopped: f64) -> impl Fn(&Net) -> Tensor<1> {
    move |net| {
        let decay = net.second.weight.val().powi_scalar(2).sum();
        fit(net) + stop_gradient(decay.clone()) * stopped + decay * (1.0 - stopped)
    }
}

/// A network at a point of its own for each `phase`.
fn net(device: &Device, phase: f64) -> Net {
    let net = Net {
        first: LinearConfig::new(50, 30).init(device),
        norm: LayerNormConfig::new(30).init(device),
        second: LinearConfig::new(30, 20).init(device),
        third: LinearConfig::new(20, 10).init(device),
    };
    waves(&Layout::of(&net), device, phase).write_into(net)
}

fn waves(layout: &Arc<Layout>, device: &Device, phase: f64) -> Vector {
    let values: Vec<_> = (0..layout.size()).map(|i| 0.3 * (1.3 * i as f64 + phase).sin()).collect();
    Vector::from_slice(layout, &values, device)
}

fn passes(device: &Device, phase: f64) {
    check(&net(device, phase), training(0.0)).unwrap().assert_ok();
}

fn finds_a_stopped_quarter(device: &Device, phase: f64) {
    let report = check(&net(device, phase), training(0.25)).unwrap();
    assert_eq!(report.faulty(), ["second.weight"], "{report}");
}

const PHASES: [f64; 6] = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5];

#[test]
fn a_network_of_usual_layers_passes_wherever_it_starts() {
    PHASES.into_iter().for_each(|phase| passes(&Device::flex(), phase));
}

#[test]
fn a_quarter_that_is_held_constant_is_found() {
    PHASES.into_iter().for_each(|phase| finds_a_stopped_quarter(&Device::flex(), phase));
}

/// A bias before a normalisation over samples has no effect: its gradient is rounding, and Burn's rounds differently.
#[test]
fn a_gradient_that_is_rounding_alone_raises_no_false_alarm() {
    let loss = |net: &Net| {
        let device = net.first.weight.device();
        let pixels: Vec<_> = (0..32 * 50).map(|i| (1.7 * i as f64).sin()).collect();
        let input = Tensor::<2>::from_data(TensorData::new(pixels, [32, 50]), &device);
        let hidden = net.first.forward(input);
        let centred = hidden.clone() - hidden.mean_dim(0);
        let variance = (centred.clone() * centred.clone()).mean_dim(0);
        let logits = net.third.forward(net.second.forward(tanh(centred / variance.sqrt())));
        log_softmax(logits, 1).narrow(1, 0, 1).mean().neg()
    };
    let net = net(&Device::flex(), PHASES[0]);
    assert!(bilevel_program::grad(&net, loss).unwrap().norm() > 0.1);
}

#[cfg(feature = "wgpu")]
mod on_wgpu {
    use super::*;
    use bilevel_program::{Direction, Recorded, TraceError, Wrt};
    use burn::module::Param;
    use burn::tensor::DeviceType;

    /// The first graphics adapter. Without one a test is skipped with a message; with `BILEVEL_REQUIRE_GPU` set that is
    /// a failure.
    fn adapter() -> Option<Device> {
        let found = Device::enumerate(DeviceType::Wgpu).into_iter().next();
        let required = std::env::var_os("BILEVEL_REQUIRE_GPU").is_some();
        assert!(
            found.is_some() || !required,
            "no graphics adapter was found, and BILEVEL_REQUIRE_GPU is set"
        );
        if found.is_none() {
            eprintln!("skipped: no graphics adapter was found");
        }
        found
    }

    #[test]
    fn the_same() {
        if let Some(device) = adapter() {
            passes(&device, PHASES[0]);
            finds_a_stopped_quarter(&device, PHASES[0]);
        }
    }

    /// `mean_ij (y_i y_j)^3`: in the middle is a matrix, whose side is the length of y.
    fn outer(_: &Nothing, y: &Variable, (): &()) -> Tensor<1> {
        let y = y.val();
        let n = y.shape()[0];
        (y.clone().reshape([n, 1]) * y.reshape([1, n])).powi_scalar(3).mean()
    }

    type Variable = Param<Tensor<1>>;
    type Nothing = Option<Variable>;

    #[test]
    fn what_is_too_large_for_an_array_of_the_device_is_refused_before_it_is_computed() {
        let Some(device) = adapter() else { return };
        // y takes 1 MiB, the matrix 256 GiB.
        for (n, fits) in [(1 << 18, false), (8, true)] {
            let y: Variable = Param::from_data(TensorData::new(vec![0.5_f32; n], [n]), &device);
            let recorded = Recorded::<Nothing, Variable, ()>::new(&None, &y).unwrap();
            let x = Vector::from_module(recorded.upper_layout(), &Nothing::None);
            let at = Vector::from_module(recorded.lower_layout(), &y);
            let along = Direction::in_y(&at);
            let found = [
                recorded.value(&x, &at, &(), &outer).err(),
                recorded.gradient(&x, &at, &(), Wrt::Y, &outer).err(),
                recorded.product(&x, &at, &(), along, Wrt::Y, &outer).err(),
                recorded.linearize(&x, &at, &(), None, along, Wrt::Y, &outer).err(),
                bilevel_program::grad(&y, |y| outer(&None, y, &())).err(),
                bilevel_program::hvp(&y, &at, |y| outer(&None, y, &())).err(),
                bilevel_program::check(&y, |y| outer(&None, y, &())).err(),
            ];
            for error in found {
                let Some(error) = error else {
                    assert!(fits);
                    continue;
                };
                let TraceError::TooLarge { shape, bytes, most, .. } = &error else {
                    panic!("{error}")
                };
                assert!(!fits && most < bytes, "{error}");
                assert_eq!(shape, &[n, n]);
                assert!(error.to_string().contains("smaller batches"), "{error}");
            }
        }
    }

    /// What no check of ours sees, as an array that a user makes: the error comes with the numbers, and garbage does not.
    #[test]
    fn what_a_device_fails_at_is_told_where_it_is_read() {
        let Some(device) = adapter() else { return };
        let n = (128 << 30) / size_of::<f32>();
        let too_large = Tensor::<1>::zeros([n], &device) + 1.0;
        let sum = too_large.sum();
        let read = || bilevel_program::float::read(sum.into_dispatch());
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_err();
        let says =
            bilevel_program::device_failure(panic.as_ref()).expect("a failure of the device");
        println!("{says}");
        // The device goes on.
        let two = Tensor::<1>::ones([2], &device).sum();
        assert_eq!(
            bilevel_program::float::read(two.into_dispatch()).iter::<f32>().next(),
            Some(2.0)
        );
    }

    /// A loss whose module holds what comes of such an array: the device is at fault, not the loss.
    #[test]
    fn what_a_device_fails_at_while_a_loss_is_recorded_is_told_as_such() {
        let Some(device) = adapter() else { return };
        let n = (128 << 30) / size_of::<f32>();
        let sum = (Tensor::<1>::zeros([n], &device) + 1.0).sum();
        let frozen = Param::from_tensor(sum).no_grad();
        let y: Vec<Variable> = vec![Param::from_data([0.5_f32], &device), frozen];
        let loss = |y: &Vec<Variable>| (y[0].val() * y[1].val()).sum();
        let error = bilevel_program::grad(&y, loss).unwrap_err();
        assert!(matches!(error, TraceError::Device { .. }), "{error}");
        println!("{error}");
    }

    /// Largest difference between two backends, relative to the norm.
    const TOLERANCE: f64 = 1e-5;

    #[test]
    fn a_hessian_vector_product_is_that_on_flex() {
        fn product(device: &Device) -> Vec<f64> {
            let net = net(device, 0.5);
            let v = waves(&Layout::of(&net), device, 0.9);
            bilevel_program::hvp(&net, &v, fit).unwrap().to_vec()
        }
        if let Some(device) = adapter() {
            let (found, expected) = (product(&device), product(&Device::flex()));
            let norm = expected.iter().map(|e| e * e).sum::<f64>().sqrt();
            let errors = found.iter().zip(&expected).map(|(f, e)| (f - e).abs());
            let error = errors.fold(0.0, f64::max);
            assert!(norm > 0.1 && error <= TOLERANCE * norm, "off {error:e} of {norm}");
        }
    }
}
