//! The gradient check in f32 on flex: no false alarm at its looser tolerances, and plain errors found.

use bilevel_autodiff::{Layout, Loss, Track, Vector, check, lift_reverse};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::tanh;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};

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
fn net(phase: f64) -> Net<Autodiff<Flex>> {
    let net = Net::<Autodiff<Flex>> {
        first: LinearConfig::new(50, 30).init(&FlexDevice),
        norm: LayerNormConfig::new(30).init(&FlexDevice),
        second: LinearConfig::new(30, 20).init(&FlexDevice),
        third: LinearConfig::new(20, 10).init(&FlexDevice),
    };
    let layout = Layout::of(&net);
    let values: Vec<_> = (0..layout.size()).map(|i| 0.3 * (1.3 * i as f64 + phase).sin()).collect();
    let point = Vector::from_slice(&layout, &values, &FlexDevice);
    lift_reverse::<Flex, _>(&net.valid(), &point, Track::Leaves).module
}

const PHASES: [f64; 6] = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5];

#[test]
fn a_network_of_usual_layers_passes_wherever_it_starts() {
    for phase in PHASES {
        check(&Training { detached: 0.0 }, &net(phase)).assert_ok();
    }
}

#[test]
fn a_detached_quarter_is_found() {
    for phase in PHASES {
        let report = check(&Training { detached: 0.25 }, &net(phase));
        assert_eq!(report.faulty(), ["second.weight"], "{report}");
    }
}
