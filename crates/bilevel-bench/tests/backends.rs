//! The same hypergradient on every backend, in f32.
//!
//! wgpu is skipped, with a word, where there is no graphics adapter; with `BILEVEL_REQUIRE_GPU` set that
//! is a failure.

use bilevel_bench::backend::{BackendName, Job, run_on};
use bilevel_core::{
    AutodiffOracle, BilevelProblem, Cg, Descent, FullBatch, Gd, HypergradientMethod, Implicit,
    Momentum, Rad, Samples, Stage,
};
use bilevel_models::{ConvNet, ConvNetConfig, Mlp, MlpConfig, cross_entropy};
use burn::backend::Autodiff;
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData, activation};

/// Largest difference between two backends, relative to the largest entry of the hypergradient.
const TOLERANCE: f64 = 1e-4;

#[derive(Module, Debug)]
struct Weights<B: Backend> {
    logits: Param<Tensor<B, 1>>,
}

#[derive(Module, Debug)]
struct Images<B: Backend> {
    pixels: Tensor<B, 4>,
    labels: Tensor<B, 1, Int>,
}

/// Either network, by one type.
#[allow(clippy::large_enum_variant, reason = "there is one value of it")]
#[derive(Module, Debug)]
enum Network<B: Backend> {
    Mlp(Mlp<B>),
    Conv(ConvNet<B>),
}

impl<B: Backend> Network<B> {
    fn losses(&self, batch: &Images<B>) -> Tensor<B, 1> {
        let logits = match self {
            Self::Mlp(net) => net.forward(batch.pixels.clone().flatten(1, 3)),
            Self::Conv(net) => net.forward(batch.pixels.clone()),
        };
        cross_entropy(logits, batch.labels.clone())
    }
}

/// Hyper-cleaning in the small.
struct Cleaning;

impl<B: Backend> BilevelProblem<B> for Cleaning {
    type Upper = Weights<B>;
    type Lower = Network<B>;
    type Batch = Images<B>;

    fn upper_loss(&self, _: &Weights<B>, net: &Network<B>, batch: &Images<B>) -> Tensor<B, 1> {
        net.losses(batch).mean()
    }

    fn lower_loss(&self, x: &Weights<B>, net: &Network<B>, batch: &Images<B>) -> Tensor<B, 1> {
        (activation::sigmoid(x.logits.val()) * net.losses(batch)).mean()
    }
}

const SIDE: usize = 6;
const SAMPLES: usize = 8;
const CLASSES: usize = 3;

/// Numbers in [-1, 1], the same on every backend.
fn numbers(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

struct Hypergradient {
    conv: bool,
    method: &'static str,
}

impl Job for Hypergradient {
    type Output = Vec<f64>;

    fn run<B: Backend>(self, device: B::Device) -> Vec<f64> {
        let images = |seed| Images::<B> {
            pixels: Tensor::from_data(
                TensorData::new(numbers(seed, SAMPLES * SIDE * SIDE), [SAMPLES, 1, SIDE, SIDE]),
                &device,
            ),
            labels: Tensor::from_data(
                TensorData::new((0..SAMPLES as i32).map(|i| i % 3).collect(), [SAMPLES]),
                &device,
            ),
        };
        let data = FullBatch { upper: images(1), lower: images(2) };
        let logits = TensorData::new(numbers(3, SAMPLES), [SAMPLES]);
        let x = Weights { logits: Param::from_tensor(Tensor::from_data(logits, &device)) };
        let net = if self.conv {
            let config = ConvNetConfig::new([1, SIDE, SIDE], CLASSES).with_channels(vec![4, 3]);
            Network::<Autodiff<B>>::Conv(config.init(&device))
        } else {
            Network::Mlp(MlpConfig::new(vec![SIDE * SIDE, 7, CLASSES]).init(&device))
        };
        let oracle = AutodiffOracle::new(Cleaning, &x, &net, data).unwrap();
        // Backends draw different initial values: take numbers of our own.
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let values: Vec<f64> =
            numbers(4, y.layout().size()).into_iter().map(|v| 0.3 * f64::from(v)).collect();
        let y = bilevel_autodiff::Vector::from_slice(y.layout(), &values, &device);
        let gd = || Descent::new(Gd::new(0.2).unwrap(), 5).unwrap();
        let heavy = || Descent::new(Momentum::new(0.1, 0.5).unwrap(), 5).unwrap();
        let cg = || Cg::new(5, 1e-6).unwrap().with_damping(1.0).unwrap();
        let mut method: Box<dyn HypergradientMethod<B>> = match self.method {
            "rad" => Box::new(Rad::new(gd())),
            "rad through momentum" => Box::new(Rad::new(heavy())),
            _ => Box::new(Implicit::new(gd(), cg())),
        };
        method
            .hypergradient(Stage::new(&oracle, &x, Samples::default()), &y)
            .unwrap()
            .gradient
            .to_vec()
    }
}

fn agree(backend: BackendName) {
    for conv in [false, true] {
        for method in ["rad", "rad through momentum", "cg"] {
            let expected = run_on(BackendName::Flex, Hypergradient { conv, method }).unwrap();
            let found = run_on(backend, Hypergradient { conv, method }).unwrap();
            let scale = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            assert!(scale > 1e-6, "{method}, conv {conv}: the hypergradient is not zero");
            for (f, e) in found.iter().zip(&expected) {
                let off = (f - e).abs() / scale;
                assert!(off <= TOLERANCE, "{backend:?}, {method}, conv {conv}: {f:e} for {e:e}");
            }
        }
    }
}

#[test]
fn ndarray_agrees_with_flex() {
    agree(BackendName::Ndarray);
}

#[test]
fn wgpu_agrees_with_flex() {
    match BackendName::Wgpu.resolve() {
        Ok(_) => agree(BackendName::Wgpu),
        Err(error) => {
            assert!(std::env::var_os("BILEVEL_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("skipped: {error}");
        }
    }
}
