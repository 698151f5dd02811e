//! Peak memory of a step of `nsgame`: it depends on the size of y2, not of y. The test has its own binary
//! because the counter covers the whole process.

use std::alloc::System;
use std::hint::black_box;

use bilevel_core::*;
use bilevel_models::{Mlp, MlpConfig};
use bilevel_problems::Values;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor, activation};
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};

#[global_allocator]
static HEAP: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So many that the tensors are not small: those of small ones would lie in buffers that persist.
const SAMPLES: usize = 2048;
const WIDTH: usize = 64;
const FEATURES: usize = 4;
/// The size of the activations between two layers, in f32.
const HIDDEN: usize = 4 * SAMPLES * WIDTH;

#[derive(Module, Debug)]
struct Network {
    body: Mlp,
    fc: Linear,
}

/// `F` is the mean of squares, `f` the same with one weight per sample.
#[derive(Clone, Copy)]
struct Squares;

impl BilevelProblem for Squares {
    type Upper = Values;
    type Lower = Network;
    type Batch = Tensor<2>;

    fn upper_loss(&self, _: &Values, y: &Network, batch: &Tensor<2>) -> Tensor<1> {
        y.fc.forward(self.features(y, batch)).powi_scalar(2).mean()
    }

    fn lower_loss(&self, x: &Values, y: &Network, batch: &Tensor<2>) -> Tensor<1> {
        self.head_loss(x, y, self.features(y, batch), batch)
    }
}

impl SplitProblem for Squares {
    fn features(&self, y: &Network, batch: &Tensor<2>) -> Tensor<2> {
        y.body.forward(batch.clone())
    }

    fn head_loss(&self, x: &Values, y: &Network, features: Tensor<2>, _: &Tensor<2>) -> Tensor<1> {
        let squares = y.fc.forward(features).powi_scalar(2).squeeze_dim(1);
        (activation::sigmoid(x.val()) * squares).mean()
    }
}

/// The peak of allocated bytes while `run` runs, above the initial level.
fn peak<T>(run: impl FnOnce() -> T) -> usize {
    HEAP.reset_peak_memory();
    drop(black_box(run()));
    HEAP.get_peak_memory()
}

/// The peaks of a gradient of f, of a product of the whole loss, of a product of the head, and of a step,
/// with a body of `depth` layers.
fn peaks(depth: usize) -> [usize; 4] {
    let device = Device::flex();
    let mut widths = vec![WIDTH; depth];
    widths.push(FEATURES);
    let y = Network {
        body: MlpConfig::new(widths).init(&device),
        fc: LinearConfig::new(FEATURES, 1).init(&device),
    };
    let x = Values::new(&[0.0; SAMPLES], &device);
    let batch = || Tensor::random([SAMPLES, WIDTH], Distribution::Uniform(-1.0, 1.0), &device);
    let data = FullBatch { upper: batch(), lower: batch() };
    let split = SplitOracle::new(Squares, &x, &y, data).unwrap();
    let (x, y) = (split.whole().upper_start(), split.whole().lower_start());
    let fc = y.layout().part(&y.layout().under("fc"));
    let v = y.only(&fc);
    let problem = |oracle| LowerProblem::new(oracle, &x, Samples::default());
    let product = |oracle| {
        let problem = problem(oracle);
        let (_, _, mixed) = problem.gradient_and_mixed(&y);
        peak(|| mixed(&v))
    };
    let method = NsGame::new(Rates::new(1e-3, 0.1).unwrap(), "fc");
    let mut solver = JointSolver::new(&split, method, x.clone(), y.clone()).unwrap();
    // Creates threads and buffers that persist.
    solver.step(0).unwrap();
    [
        peak(|| problem(&split).gradient(Objective::Lower, &y, Wrt::Y)),
        product(split.whole()),
        product(&split),
        peak(|| solver.step(1).unwrap()),
    ]
}

#[test]
fn the_product_holds_the_head_alone_and_a_step_no_more_than_a_gradient() {
    let mut products = Vec::new();
    for depth in [2, 4, 16] {
        let [gradient, whole, head, step] = peaks(depth);
        let kib = [gradient, whole, head, step].map(|bytes| bytes >> 10);
        println!("{depth} layers: gradient, product, of the head, step: {kib:?} KiB");
        let layers = depth - 1;
        assert!(gradient > layers * HIDDEN, "it holds every hidden layer: {gradient} bytes");
        assert!(whole > HIDDEN, "the body is evaluated: {whole} bytes");
        assert!(head < HIDDEN, "the body is not: {head} bytes");
        assert!(step as f64 <= 1.05 * gradient as f64, "{step} bytes, a gradient {gradient}");
        products.push(head);
    }
    // A lift allocates a few pointers per layer, but no copy of its weights.
    let weights = (16 - 2) * 4 * WIDTH * WIDTH;
    assert!(products[2] < products[0] + weights / 4, "grows with the body: {products:?} bytes");
}
