//! The costs of the engine's operations on flex, in f32, called as in the binary `bilevel`: on a thread of the pool.
//! The allocator is mimalloc, as there, but without counting and with its default delay for free pages.
//!
//! x weights the samples from which a network y learns (data hyper-cleaning), at two sizes. In `small`, a sinusoid
//! fitted by a network 1-40-40-1 from 10 samples, bookkeeping dominates; in `mlp`, 784-300-10 on 1000 samples, the
//! kernels do.
//!
//! `cargo bench -p bilevel-benches --bench engine -- [filter]`. Times of small operations vary with the load of the
//! machine, counts of instructions do not. For those of one operation, which has run before they are taken:
//!
//! ```text
//! cargo bench -p bilevel-benches --bench engine --no-run    # names the executable
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='engine::once*' \
//!     EXECUTABLE --test small/gradient
//! callgrind_annotate callgrind.out.*
//! ```

use std::hint::black_box;
use std::time::Duration;

use bilevel_core::lower::pull_back;
use bilevel_core::{
    AutodiffOracle, BilevelProblem, Direction, Dynamics, FullBatch, Gd, LowerProblem, Objective,
    Samples, Wrt,
};
use bilevel_models::{Mlp, MlpConfig, cross_entropy};
use bilevel_program::Vector;
use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData, activation};
use criterion::Criterion;
use mimalloc::MiMalloc;

#[global_allocator]
static HEAP: MiMalloc = MiMalloc;

const CLASSES: usize = 10;

/// A weight of each sample, before its sigmoid.
#[derive(Module, Debug)]
struct Weights {
    of: Param<Tensor<1>>,
}

#[derive(Clone, Debug, bilevel_core::Batch)]
enum Targets {
    Numbers(Tensor<2>),
    Labels(Tensor<1, Int>),
}

#[derive(Clone, Debug, bilevel_core::Batch)]
struct Batch {
    inputs: Tensor<2>,
    targets: Targets,
}

/// `F = mean_i l_i`, `f = mean_i sigmoid(x_i) l_i`.
#[derive(Clone, Copy)]
struct Cleaning;

fn losses(y: &Mlp, batch: &Batch) -> Tensor<1> {
    let outputs = y.forward(batch.inputs.clone());
    match &batch.targets {
        Targets::Numbers(numbers) => {
            (outputs - numbers.clone()).powi_scalar(2).mean_dim(1).squeeze_dim(1)
        }
        Targets::Labels(labels) => cross_entropy(outputs, labels.clone()),
    }
}

impl BilevelProblem for Cleaning {
    type Upper = Weights;
    type Lower = Mlp;
    type Batch = Batch;

    fn upper_loss(&self, _: &Weights, y: &Mlp, batch: &Batch) -> Tensor<1> {
        losses(y, batch).mean()
    }

    fn lower_loss(&self, x: &Weights, y: &Mlp, batch: &Batch) -> Tensor<1> {
        (activation::sigmoid(x.of.val()) * losses(y, batch)).mean()
    }
}

/// An operation, measured until the device is done. A function whose instructions can be counted.
#[inline(never)]
fn once(operation: &dyn Fn()) {
    operation();
    Device::flex().sync().expect("the device computes");
}

fn measure(criterion: &mut Criterion, size: &str, operations: &[(&str, &dyn Fn())]) {
    let mut group = criterion.benchmark_group(size);
    for (name, operation) in operations {
        group.bench_function(*name, |bencher| {
            // The first call creates threads and buffers that persist. Not with `once`: it does not count.
            operation();
            bencher.iter(|| once(operation));
        });
    }
    group.finish();
}

/// Measures everything on one network.
fn all(criterion: &mut Criterion, size: &str, network: &MlpConfig, batch: Batch) {
    let device = Device::flex();
    let y = network.init(&device);
    let zeros = Tensor::zeros([batch.inputs.dims()[0]], &device);
    let x = Weights { of: Param::from_tensor(zeros) };

    let (by_x, by_y, by_batch) = (x.clone(), y.clone(), batch.clone());
    let data = FullBatch { upper: batch.clone(), lower: batch };
    let oracle = AutodiffOracle::new(Cleaning, &x, &y, data);
    let oracle = oracle.expect("the losses are finite");
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(&oracle, &x, Samples::default());
    let v: Vector = y.scale(0.5);
    let step = Gd::new(0.1).expect("the step size is positive");
    let (state, adjoint) = (step.start(&y), step.start(&v));

    measure(
        criterion,
        size,
        &[
            ("loss", &|| drop(black_box(problem.value(Objective::Lower, &y)))),
            ("loss, by Burn", &|| {
                drop(black_box(Cleaning.lower_loss(&by_x, &by_y, &by_batch)));
            }),
            ("gradient", &|| drop(black_box(problem.gradient(Objective::Lower, &y, Wrt::Y)))),
            ("product", &|| {
                let along = Direction::in_y(&v);
                drop(black_box(problem.product(Objective::Lower, &y, along, Wrt::Y)));
            }),
            ("adjoint step", &|| {
                let adjoint = adjoint.clone();
                drop(black_box(pull_back(&problem, &step, 0, &state, adjoint, Wrt::Both)));
            }),
            ("vector add", &|| drop(black_box(y.add(&v)))),
            ("vector axpy", &|| drop(black_box(y.axpy(0.1, &v)))),
            ("vector dot", &|| {
                black_box(y.dot(&v));
            }),
            ("vector norm", &|| {
                black_box(y.norm());
            }),
        ],
    );
}

fn uniform(sizes: [usize; 2], low: f64, high: f64) -> Tensor<2> {
    Tensor::random(sizes, Distribution::Uniform(low, high), &Device::flex())
}

fn engine() {
    Device::flex().seed(0);
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();

    let inputs = uniform([10, 1], -5.0, 5.0);
    let targets = Targets::Numbers(inputs.clone().sin());
    let network = MlpConfig::new(vec![1, 40, 40, 1]);
    all(&mut criterion, "small", &network, Batch { inputs, targets });

    let samples = 1000;
    let labels = (0..samples).map(|i| (i % CLASSES) as i32).collect();
    let labels = Tensor::from_data(TensorData::new(labels, [samples]), &Device::flex());
    let (inputs, targets) = (uniform([samples, 784], 0.0, 1.0), Targets::Labels(labels));
    let network = MlpConfig::new(vec![784, 300, CLASSES]);
    all(&mut criterion, "mlp", &network, Batch { inputs, targets });

    criterion.final_summary();
}

fn main() {
    rayon::scope(|_| engine());
}
