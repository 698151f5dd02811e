//! What products cost beside gradients, in time and in memory: on flex, in f32.
//!
//! The operations take turns, round after round, so that whatever else the machine does falls on all of
//! them alike. The tables give medians over the rounds; the ratio is that of one round, with its quartiles.

use std::alloc::System;
use std::hint::black_box;
use std::time::Instant;

use bilevel_autodiff::{
    Dual, ForwardOverReverse, Layout, ReverseOverForward, Vector, grad, grad_and_hvp, hvp,
};
use bilevel_models::{Activation, ConvNet, ConvNetConfig, Mlp, MlpConfig, cross_entropy};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor, TensorData, activation};
use burn_flex::{Flex, FlexDevice};
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};

#[global_allocator]
static HEAP: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

type Reverse = Autodiff<Flex>;

const ROUNDS: usize = 25;
const CLASSES: usize = 10;

/// Pixels and labels, already on the level of a loss: none of their conversion is timed.
#[derive(Module, Debug)]
struct Batch<B: Backend> {
    images: Tensor<B, 4>,
    labels: Tensor<B, 1, Int>,
}

impl Batch<Flex> {
    fn random(samples: usize) -> Self {
        let labels = (0..samples).map(|i| (i % CLASSES) as i32).collect();
        let labels = TensorData::new(labels, [samples]);
        Self {
            images: Tensor::random(
                [samples, 1, 28, 28],
                Distribution::Uniform(0.0, 1.0),
                &FlexDevice,
            ),
            labels: Tensor::from_data(labels, &FlexDevice),
        }
    }
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one value of it")]
enum Network<B: Backend> {
    Mlp(Mlp<B>),
    Conv(ConvNet<B>),
}

fn loss<B: Backend>(network: &Network<B>, batch: &Batch<B>) -> Tensor<B, 1> {
    let logits = match network {
        Network::Mlp(mlp) => mlp.forward(batch.images.clone().flatten(1, 3)),
        Network::Conv(conv) => conv.forward(batch.images.clone()),
    };
    cross_entropy(logits, batch.labels.clone()).mean()
}

type Operation<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Times and measures all operations on one network.
fn measure(name: &str, network: Network<Reverse>, batch: Batch<Flex>, more: Vec<Operation<'_>>) {
    let v = Vector::from_module(&Layout::of(&network), &network.valid());
    let reverse = Batch::<Reverse>::from_inner(batch.clone());
    let rof = Batch::<ReverseOverForward<Flex>>::from_inner(reverse.clone());
    let fwd = Batch::<ForwardOverReverse<Flex>>::from_inner(Batch::<Dual<Flex>>::from_inner(batch));
    let gradient = || grad(&network, |net| loss(net, &reverse));
    let mut operations: Vec<Operation<'_>> = vec![
        ("gradient", Box::new(|| drop(black_box(gradient())))),
        (
            "`hvp`, reverse over forward",
            Box::new(|| drop(black_box(hvp(&network, &v, |net| loss(net, &rof))))),
        ),
        (
            "`grad_and_hvp`, forward over reverse",
            Box::new(|| drop(black_box(grad_and_hvp(&network, &v, |net| loss(net, &fwd))))),
        ),
        (
            "two gradients and their difference",
            Box::new(|| drop(black_box(gradient().sub(&gradient())))),
        ),
    ];
    operations.extend(more);

    let mut seconds = vec![Vec::new(); operations.len()];
    let peaks: Vec<f64> = operations.iter().map(|(_, operation)| peak(operation)).collect();
    for _ in 0..ROUNDS {
        for ((_, operation), seconds) in operations.iter().zip(&mut seconds) {
            let start = Instant::now();
            operation();
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    println!("\n{name}\n\n| | ms | gradients | quartiles | peak MiB |\n|---|---|---|---|---|");
    for (((name, _), peak), of) in operations.iter().zip(peaks).zip(&seconds) {
        let ratios = of.iter().zip(&seconds[0]).map(|(a, b)| a / b).collect::<Vec<_>>();
        let (ms, ratio) = (1e3 * quantile(of, 0.5), quantile(&ratios, 0.5));
        let (low, high) = (quantile(&ratios, 0.25), quantile(&ratios, 0.75));
        println!("| {name} | {ms:.1} | {ratio:.2} | {low:.2} to {high:.2} | {peak:.1} |");
    }
}

/// The most memory that is allocated at once during `operation`, above what was there before, in MiB.
fn peak(operation: &dyn Fn()) -> f64 {
    HEAP.reset_peak_memory();
    operation();
    HEAP.get_peak_memory() as f64 / (1 << 20) as f64
}

fn quantile(of: &[f64], share: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(share * (sorted.len() - 1) as f64).round() as usize]
}

/// The Hessian-vector product of a network of two layers by Burn's own nesting, `Autodiff<Autodiff<B>>`.
/// That panics on `nn::Linear`, and so the layers are products and sums.
fn nested(batch: &Batch<Autodiff<Reverse>>, weights: &[Tensor<Flex, 2>; 4], relu: bool) {
    let inner = weights.clone().map(|w| Tensor::<Reverse, 2>::from_inner(w).require_grad());
    let outer = inner.clone().map(|w| Tensor::<Autodiff<Reverse>, 2>::from_inner(w).require_grad());
    let [first, bias, second, shift] = outer.clone();
    let hidden = batch.images.clone().flatten::<2>(1, 3).matmul(first) + bias;
    let hidden = if relu { activation::relu(hidden) } else { activation::tanh(hidden) };
    let loss = cross_entropy(hidden.matmul(second) + shift, batch.labels.clone()).mean();
    let grads = loss.backward();
    let along = outer.iter().zip(weights).map(|(w, v)| {
        let gradient = w.grad(&grads).expect("the loss depends on every weight");
        (gradient * Tensor::from_inner(v.clone())).sum()
    });
    let grads = along.reduce(|a, b| a + b).expect("there are four weights").backward();
    black_box(inner.map(|w| w.grad(&grads)));
}

fn main() {
    Flex::seed(&FlexDevice, 0);
    for (name, kind) in [("ReLU", Activation::Relu), ("tanh", Activation::Tanh)] {
        let batch = Batch::random(5000);
        let mlp = MlpConfig::new(vec![784, 300, CLASSES]).with_activation(kind).init(&FlexDevice);
        let twice = Batch::<Reverse>::from_inner(batch.clone());
        let twice = Batch::<Autodiff<Reverse>>::from_inner(twice);
        let weights = [[784, 300], [1, 300], [300, CLASSES], [1, CLASSES]]
            .map(|shape| Tensor::random(shape, Distribution::Uniform(-0.05, 0.05), &FlexDevice));
        let nested = || nested(&twice, &weights, kind == Activation::Relu);
        let more: Vec<Operation<'_>> = vec![("Burn's `Autodiff` of `Autodiff`", Box::new(nested))];
        measure(&format!("MLP 784-300-10, {name}, 5000 samples"), Network::Mlp(mlp), batch, more);
    }
    let conv = ConvNetConfig::new([1, 28, 28], CLASSES).init(&FlexDevice);
    let batch = Batch::random(25);
    measure("ConvNet, 4 blocks of 64, 25 samples of 28x28", Network::Conv(conv), batch, Vec::new());
}
