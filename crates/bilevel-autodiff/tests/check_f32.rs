//! The gradient check in f32, on flex and on wgpu: no false alarm at its looser tolerances, and plain
//! errors found. wgpu is skipped where there is no graphics adapter.

mod graphics;

use std::sync::Arc;

use bilevel_autodiff::{Layout, Loss, ReverseOverForward, Track, Vector, check, hvp, lift_reverse};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::tanh;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use burn_wgpu::Wgpu;

#[derive(Module, Debug)]
struct Net<B: Backend> {
    first: Linear<B>,
    norm: LayerNorm<B>,
    second: Linear<B>,
    third: Linear<B>,
}

impl<B: Backend> Net<B> {
    fn loss(&self) -> Tensor<B, 1> {
        let device = B::Device::default();
        let pixels: Vec<_> = (0..32 * 50).map(|i| (1.7 * i as f64).sin()).collect();
        let input = Tensor::<B, 2>::from_data(TensorData::new(pixels, [32, 50]), &device);
        let labels: Vec<_> = (0..32).map(|i| i * 7 % 10).collect();
        let labels = Tensor::<B, 1, Int>::from_data(TensorData::new(labels, [32]), &device);
        let hidden = self.norm.forward(tanh(self.first.forward(input)));
        let logits = self.third.forward(Gelu::new().forward(self.second.forward(hidden)));
        CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
    }
}

/// The loss, with this part of an extra term in one parameter detached.
struct Training {
    detached: f64,
}

impl<B: Backend> Loss<B> for Training {
    type Module = Net<B>;
    fn loss(&self, net: &Net<B>) -> Tensor<B, 1> {
        let decay = net.second.weight.val().powi_scalar(2).sum();
        net.loss() + decay.clone().detach() * self.detached + decay * (1.0 - self.detached)
    }
}

/// A network at a point of its own for each `phase`.
fn net<B: Backend>(phase: f64) -> Net<Autodiff<B>> {
    let device = B::Device::default();
    let net = Net::<Autodiff<B>> {
        first: LinearConfig::new(50, 30).init(&device),
        norm: LayerNormConfig::new(30).init(&device),
        second: LinearConfig::new(30, 20).init(&device),
        third: LinearConfig::new(20, 10).init(&device),
    };
    let point = waves(&Layout::of(&net), phase);
    lift_reverse::<B, _>(&net.valid(), &point, Track::Leaves).module
}

fn waves<B: Backend>(layout: &Arc<Layout>, phase: f64) -> Vector<B> {
    let values: Vec<_> = (0..layout.size()).map(|i| 0.3 * (1.3 * i as f64 + phase).sin()).collect();
    Vector::from_slice(layout, &values, &B::Device::default())
}

fn passes<B: Backend>(phase: f64) {
    check(&Training { detached: 0.0 }, &net::<B>(phase)).assert_ok();
}

fn finds_a_detached_quarter<B: Backend>(phase: f64) {
    let report = check(&Training { detached: 0.25 }, &net::<B>(phase));
    assert_eq!(report.faulty(), ["second.weight"], "{report}");
}

const PHASES: [f64; 6] = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5];

#[test]
fn a_network_of_usual_layers_passes_wherever_it_starts() {
    PHASES.into_iter().for_each(passes::<Flex>);
}

#[test]
fn a_detached_quarter_is_found() {
    PHASES.into_iter().for_each(finds_a_detached_quarter::<Flex>);
}

#[test]
fn the_same_on_wgpu() {
    if graphics::adapter() {
        passes::<Wgpu>(PHASES[0]);
        finds_a_detached_quarter::<Wgpu>(PHASES[0]);
    }
}

/// Largest difference between two backends, relative to the norm.
const TOLERANCE: f64 = 1e-5;

#[test]
fn a_hessian_vector_product_on_wgpu_is_that_on_flex() {
    fn product<B: Backend>() -> Vec<f64> {
        let net = net::<B>(0.5);
        let v = waves(&Layout::of(&net), 0.9);
        hvp(&net, &v, |net: &Net<ReverseOverForward<B>>| net.loss()).to_vec()
    }
    if graphics::adapter() {
        let (found, expected) = (product::<Wgpu>(), product::<Flex>());
        let norm = expected.iter().map(|e| e * e).sum::<f64>().sqrt();
        let error = found.iter().zip(&expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max);
        assert!(norm > 0.1 && error <= TOLERANCE * norm, "off {error:e} of {norm}");
    }
}
