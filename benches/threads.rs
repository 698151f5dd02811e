//! Two independent hypergradients of one oracle: one after the other on one thread, one after the other on all threads, at
//! once on two threads that share a pool, and by `side_by_side`, each in a pool of one thread. Kernels on large tensors divide
//! their work among the threads of a pool, so that one hypergradient after the other already uses all cores; those on small
//! tensors stay on the thread that calls.
//!
//! `cargo bench -p bilevel-benches --bench threads` prints a Markdown table of minimum times in ms, in f32 on flex.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use bilevel_core::{
    AutodiffOracle, BilevelProblem, Descent, FullBatch, Gd, HypergradientMethod, LowerProblem,
    Samples, Unrolled, side_by_side,
};
use bilevel_models::{Mlp, MlpConfig};
use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor, activation};
use mimalloc::MiMalloc;
use rayon::ThreadPoolBuilder;

#[global_allocator]
static HEAP: MiMalloc = MiMalloc;

/// `F = mean_i l_i`, `f = mean_i sigmoid(x_i) l_i`, for a regression.
struct Weighted;

impl BilevelProblem for Weighted {
    type Upper = Param<Tensor<1>>;
    type Lower = Mlp;
    type Batch = [Tensor<2>; 2];

    fn upper_loss(&self, _: &Self::Upper, y: &Mlp, batch: &Self::Batch) -> Tensor<1> {
        losses(y, batch).mean()
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Mlp, batch: &Self::Batch) -> Tensor<1> {
        (activation::sigmoid(x.val()) * losses(y, batch)).mean()
    }
}

fn losses(y: &Mlp, [inputs, targets]: &[Tensor<2>; 2]) -> Tensor<1> {
    (y.forward(inputs.clone()) - targets.clone()).powi_scalar(2).mean_dim(1).squeeze_dim(1)
}

/// How often each way is measured, in turn with the others.
const ROUNDS: usize = 60;

/// The minimum times of several ways, in ms.
fn least<const N: usize>(ways: [&dyn Fn(); N]) -> [f64; N] {
    let mut least = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        for (least, way) in least.iter_mut().zip(ways) {
            let begin = Instant::now();
            way();
            *least = least.min(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    least
}

fn row(widths: &[usize], samples: usize, steps: usize) {
    let device = Device::flex();
    let uniform =
        |columns| Tensor::random([samples, columns], Distribution::Uniform(-1.0, 1.0), &device);
    let batch = [uniform(widths[0]), uniform(widths[widths.len() - 1])];
    let x = Param::from_tensor(Tensor::<1>::zeros([samples], &device));
    let y = MlpConfig::new(widths.to_vec()).init(&device);
    let data = FullBatch { upper: batch.clone(), lower: batch };
    let oracle = AutodiffOracle::new(Weighted, &x, &y, data).expect("the losses are finite");
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let one = || {
        let descent = Descent::new(Gd::new(0.1).expect("the step size is positive"), steps);
        let mut method = Unrolled::rad(descent.expect("there are steps"));
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        black_box(method.hypergradient(problem, &y).expect("the descent is finite"));
    };
    let in_turn = || (0..2).for_each(|_| one());
    let pools = [1, rayon::current_num_threads()]
        .map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool"));
    let [on_one, on_all] = pools.each_ref().map(|pool| move || pool.install(in_turn));
    let sharing = || {
        thread::scope(|scope| {
            let other = scope.spawn(one);
            one();
            other.join().expect("a hypergradient");
        });
    };
    let apart = || drop(side_by_side(vec![(); 2], |()| one()));
    let [on_one, on_all, sharing, apart] = least([&on_one, &on_all, &sharing, &apart]);
    let (of_one, of_all) = (on_one / apart, on_all / apart);
    println!(
        "| {widths:?}, {samples} samples, T = {steps} | {on_one:.2} | {on_all:.2} | {sharing:.2} | {apart:.2} | {of_one:.2} | {of_all:.2} |"
    );
}

fn main() {
    println!(
        "| network | in turn on one thread | in turn | at once | side by side | one thread / that | in turn / that |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    row(&[1, 40, 40, 1], 10, 20);
    row(&[20, 64, 10], 100, 10);
    row(&[100, 100, 10], 500, 4);
    row(&[784, 10], 1000, 4);
    row(&[784, 300, 10], 1000, 1);
}
