//! The cost of a step of `nsgame` compared with a plain training step, in time and in memory: on flex, in f32.
//!
//! A residual network is trained on samples that a small network weights by their losses (Meta-Weight-Net), as in
//! Section 5 of the source. The steps take turns, round after round, so that other load on the machine affects all
//! alike. Times are medians over the rounds, wall-clock and processor time, which other processes affect less; ratios
//! are those within a round, their medians.
//!
//! `cargo bench -p bilevel-benches --bench nsgame -- [blocks a stage] [samples] [pixels] [rounds]`, from 1, 64,
//! 32 and 15.

use std::alloc::System;
use std::hint::black_box;
use std::time::Instant;
use std::{env, fs};

use bilevel_core::{
    BilevelProblem, FullBatch, JointSolver, LowerProblem, NsGame, Objective, Oracle, Rates,
    Samples, Solver, SplitOracle, SplitProblem, Wrt,
};
use bilevel_models::{Mlp, MlpConfig, ResNet, ResNetConfig, cross_entropy};
use bilevel_program::Vector;
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData, activation};
use peakmem_alloc::{INSTRUMENTED_SYSTEM, PeakMemAlloc, PeakMemAllocTrait};

#[global_allocator]
static HEAP: &PeakMemAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLASSES: usize = 10;
/// The step size of y, small: thousands of steps on noise lead nowhere.
const RATE: f64 = 1e-3;

#[derive(Clone, Debug, bilevel_core::Batch)]
struct Batch {
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Batch {
    fn random(samples: usize, pixels: usize) -> Self {
        let labels = (0..samples).map(|i| (i % CLASSES) as i32).collect();
        let noise = Distribution::Uniform(-1.0, 1.0);
        Self {
            images: Tensor::random([samples, 3, pixels, pixels], noise, &Device::flex()),
            labels: Tensor::from_data(TensorData::new(labels, [samples]), &Device::flex()),
        }
    }
}

/// `F = mean_i l_i` on clean samples, `f = mean_i w(l_i; x) l_i`, `l_i` the cross-entropy of a sample.
#[derive(Clone, Copy)]
struct Weighing;

fn losses(y: &ResNet, features: Tensor<2>, batch: &Batch) -> Tensor<1> {
    cross_entropy(y.head(features), batch.labels.clone())
}

impl BilevelProblem for Weighing {
    type Upper = Mlp;
    type Lower = ResNet;
    type Batch = Batch;

    fn upper_loss(&self, _: &Mlp, y: &ResNet, batch: &Batch) -> Tensor<1> {
        losses(y, y.features(batch.images.clone()), batch).mean()
    }

    fn lower_loss(&self, x: &Mlp, y: &ResNet, batch: &Batch) -> Tensor<1> {
        self.head_loss(x, y, self.features(y, batch), batch)
    }
}

impl SplitProblem for Weighing {
    fn features(&self, y: &ResNet, batch: &Batch) -> Tensor<2> {
        y.features(batch.images.clone())
    }

    fn head_loss(&self, x: &Mlp, y: &ResNet, features: Tensor<2>, batch: &Batch) -> Tensor<1> {
        let losses = losses(y, features, batch);
        let weights = activation::sigmoid(x.forward(losses.clone().unsqueeze_dim(1)));
        (weights.squeeze_dim(1) * losses).mean()
    }
}

type Operation<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// Steps of `nsgame` on `oracle`, y2 being the variables at `path`.
fn game<'a>(
    oracle: &'a dyn Oracle,
    at: &LowerProblem<'_>,
    y: &Vector,
    path: &str,
) -> Box<dyn FnMut() + 'a> {
    let method = NsGame::new(Rates::new(1e-3 * RATE, RATE).expect("they are positive"), path);
    let solver = JointSolver::new(oracle, method, at.x.clone(), y.clone());
    let mut solver = solver.expect("the network has such a layer");
    let mut k = 0;
    Box::new(move || {
        solver.step(k).expect("the numbers stay finite");
        k += 1;
    })
}

/// Steps of Burn's own gradient descent on f, x being constant.
fn training(x: Mlp, y: ResNet, batch: Batch) -> impl FnMut() {
    let mut y = y.train();
    let mut optimizer = SgdConfig::new().init();
    move || {
        let gradients = Weighing.lower_loss(&x, &y, &batch).backward();
        let gradients = GradientsParams::from_grads(gradients, &y);
        y = optimizer.step(RATE, y.clone(), gradients);
    }
}

/// Wall-clock seconds since `start`, and processor seconds since the process began, all threads together; 0 if the
/// system does not report them.
fn now(start: Instant) -> [f64; 2] {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let told = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        told.split(' ').next()?.parse::<f64>().ok()
    });
    [start.elapsed().as_secs_f64(), 1e-9 * nanoseconds.sum::<f64>()]
}

/// The peak of allocated memory during `operation`, above the level before, in MiB.
fn peak(operation: &mut dyn FnMut()) -> f64 {
    HEAP.reset_peak_memory();
    operation();
    HEAP.get_peak_memory() as f64 / (1 << 20) as f64
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Times and measures all operations relative to the first.
fn measure(mut operations: Vec<Operation<'_>>, rounds: usize) {
    // The first step creates threads and buffers that persist.
    operations.iter_mut().for_each(|(_, operation)| operation());
    let peaks: Vec<f64> = operations.iter_mut().map(|(_, operation)| peak(operation)).collect();
    let mut seconds = vec![Vec::new(); operations.len()];
    let start = Instant::now();
    for _ in 0..rounds {
        for ((_, operation), seconds) in operations.iter_mut().zip(&mut seconds) {
            let before = now(start);
            operation();
            let after = now(start);
            seconds.push([after[0] - before[0], after[1] - before[1]]);
        }
    }
    println!(
        "| | ms | of plain | least ms | of plain | processor ms | of plain | peak MiB | more than plain |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let least = |of: &[[f64; 2]]| of.iter().map(|[clock, _]| *clock).fold(f64::MAX, f64::min);
    for (((name, _), peak), of) in operations.iter().zip(&peaks).zip(&seconds) {
        let ms = |i: usize| 1e3 * median(of.iter().map(|s| s[i]).collect());
        let ratio =
            |i: usize| median(of.iter().zip(&seconds[0]).map(|(a, b)| a[i] / b[i]).collect());
        let (best, plain) = (least(of), least(&seconds[0]));
        println!(
            "| {name} | {:.1} | {:.2} | {:.1} | {:.2} | {:.1} | {:.2} | {peak:.2} | {:+.1} % |",
            ms(0),
            ratio(0),
            1e3 * best,
            best / plain,
            ms(1),
            ratio(1),
            100.0 * (peak / peaks[0] - 1.0)
        );
    }
}

fn main() {
    let mut given = env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let mut setting = |default: usize| given.next().unwrap_or(default);
    let (blocks, samples, pixels, rounds) = (setting(1), setting(64), setting(32), setting(15));
    let device = Device::flex();
    device.seed(0);
    let y = ResNetConfig::new(3, CLASSES).with_blocks(vec![blocks; 3]).init(&device);
    let x = MlpConfig::new(vec![1, 100, 1]).init(&device);
    let batch = || Batch::random(samples, pixels);
    let data = FullBatch { upper: batch(), lower: batch() };
    let plain = training(x.clone(), y.clone(), data.lower.clone());
    let split = SplitOracle::new(Weighing, &x, &y, data.clone());
    let split = split.expect("the losses are finite");
    let whole = split.whole();
    let (x, y) = (whole.upper_start(), whole.lower_start());
    let layout = whole.lower_layout();
    let fc = layout.part(&layout.under("fc"));
    let problem = LowerProblem::new(whole, &x, Samples::default());

    println!(
        "ResNet-{}, {samples} samples of 3x{pixels}x{pixels}, {rounds} rounds\n",
        6 * blocks + 2
    );
    let operations: Vec<Operation<'_>> = vec![
        ("plain training step", Box::new(plain)),
        ("`nsgame`, y2 = fc, split oracle", game(&split, &problem, &y, "fc")),
        ("`nsgame`, y2 = fc, plain oracle", game(whole, &problem, &y, "fc")),
        ("`nsgame`, y2 = all of y", game(whole, &problem, &y, "")),
        (
            "of which: gradient of f in y",
            Box::new(|| drop(black_box(problem.gradient(Objective::Lower, &y, Wrt::Y)))),
        ),
        (
            "of which: gradient of F in x and fc",
            Box::new(|| drop(black_box(problem.gradient(Objective::Upper, &y, Wrt::Part(&fc))))),
        ),
    ];
    measure(operations, rounds);
}
