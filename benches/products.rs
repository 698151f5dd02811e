//! The cost of products compared with gradients, in time and in memory: on flex, in f32.
//!
//! The operations take turns, round after round, so that other load on the machine affects all alike. The tables give
//! medians over the rounds; the ratio is that within a round, with its quartiles.

use std::alloc::System;
use std::hint::black_box;
use std::time::Instant;

use bilevel_models::{Activation, ConvNet, ConvNetConfig, Mlp, MlpConfig, cross_entropy};
use bilevel_program::{Direction, Recorded, Vector, Wrt};
use burn::module::Module;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};

#[global_allocator]
static HEAP: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 25;
const CLASSES: usize = 10;

/// Pixels and labels.
#[derive(Clone, Debug, bilevel_program::Batch)]
struct Batch {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Batch {
    fn random(samples: usize) -> Self {
        let labels = (0..samples).map(|i| (i % CLASSES) as i32).collect();
        let labels = TensorData::new(labels, [samples]);
        Self {
            images: Tensor::random(
                [samples, 1, 28, 28],
                Distribution::Uniform(0.0, 1.0),
                &Device::flex(),
            ),
            labels: Tensor::from_data(labels, &Device::flex()),
        }
    }
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one value of it")]
enum Network {
    Mlp(Mlp),
    Conv(ConvNet),
}

/// The loss of a network, with an empty module.
fn loss(_: &Vec<Mlp>, network: &Network, batch: &Batch) -> Tensor<1> {
    let logits = match network {
        Network::Mlp(mlp) => mlp.forward(batch.images.clone().flatten(1, 3)),
        Network::Conv(conv) => conv.forward(batch.images.clone()),
    };
    cross_entropy(logits, batch.labels.clone()).mean()
}

type Operation<'a> = (&'static str, Box<dyn Fn() + 'a>);

/// Times and measures all operations on one network.
fn measure(name: &str, network: Network, batch: Batch) {
    let recorded = Recorded::new(&Vec::new(), &network).expect("one element type");
    let none = Vector::from_module(recorded.upper_layout(), recorded.x());
    let y = Vector::from_module(recorded.lower_layout(), &network);
    let v = y.clone();
    let gradient = || {
        let found = recorded.gradient(&none, &y, &batch, Wrt::Y, &loss);
        found.expect("the loss can be recorded").1.into_y()
    };
    let product = || {
        let along = Direction::in_y(&v);
        let found = recorded.product(&none, &y, &batch, along, Wrt::Y, &loss);
        found.expect("the loss can be recorded").into_y()
    };
    let both = |products: usize| {
        let (along, wrt) = (Direction::in_y(&v), Wrt::Y);
        let found = recorded.linearize(&none, &y, &batch, Some(wrt), along, wrt, &loss);
        let (_, gradient, hessian) = found.expect("the loss can be recorded");
        (gradient, (0..products).map(|_| hessian.product(along, wrt)).collect::<Vec<_>>())
    };
    let operations: Vec<Operation<'_>> = vec![
        ("gradient", Box::new(|| drop(black_box(gradient())))),
        ("product", Box::new(|| drop(black_box(product())))),
        ("gradient and product at one point", Box::new(|| drop(black_box(both(1))))),
        ("gradient and ten products at one point", Box::new(|| drop(black_box(both(10))))),
        (
            "two gradients and their difference",
            Box::new(|| drop(black_box(gradient().sub(&gradient())))),
        ),
    ];
    // The first call of each records the loss.
    operations.iter().for_each(|(_, operation)| operation());
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

/// The peak of allocated memory during `operation`, above the level before, in MiB.
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

fn main() {
    let device = Device::flex();
    device.seed(0);
    for (name, kind) in [("ReLU", Activation::Relu), ("tanh", Activation::Tanh)] {
        let mlp = MlpConfig::new(vec![784, 300, CLASSES]).with_activation(kind).init(&device);
        let batch = Batch::random(5000);
        measure(&format!("MLP 784-300-10, {name}, 5000 samples"), Network::Mlp(mlp), batch);
    }
    let conv = ConvNetConfig::new([1, 28, 28], CLASSES).init(&device);
    let batch = Batch::random(25);
    measure("ConvNet, 4 blocks of 64, 25 samples of 28x28", Network::Conv(conv), batch);
}
