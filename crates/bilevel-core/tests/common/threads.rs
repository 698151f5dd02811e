//! Oracles used by several threads at once, with the bits of one thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bilevel_core::*;
use burn::module::Param;
use burn::tensor::Tensor;

use crate::common::*;
use crate::device;

/// Tensors of `samples` x `WIDTH` numbers: `f = mean(sum(tanh(b * y))^2) + sum exp(x) y^2 / 2`, `F` with other b and no x.
struct Wide;

const WIDTH: usize = 50;

fn curved(y: &Values, b: &Tensor<2>) -> Tensor<1> {
    (b.clone() * y.values.val().unsqueeze()).tanh().sum_dim(1).powi_scalar(2).mean()
}

impl BilevelProblem for Wide {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<2>;

    fn upper_loss(&self, _: &Values, y: &Values, b: &Tensor<2>) -> Tensor<1> {
        curved(y, b)
    }

    fn lower_loss(&self, x: &Values, y: &Values, b: &Tensor<2>) -> Tensor<1> {
        let (x, weights) = (x.values.val(), y.values.val());
        curved(y, b) + (x.exp() * weights.powi_scalar(2)).sum() / 2
    }
}

fn wide(samples: usize) -> AutodiffOracle<Wide, FullBatch<Tensor<2>>> {
    let data = |seed| vector(&numbers(seed, samples * WIDTH), &device()).reshape([samples, WIDTH]);
    let values =
        |seed| Values { values: Param::from_tensor(vector(&numbers(seed, WIDTH), &device())) };
    let data = FullBatch { upper: data(1), lower: data(2) };
    AutodiffOracle::new(Wide, &values(3), &values(4), data).unwrap()
}

/// Clones of one method on one oracle, each on its own thread. Programs of 40 samples run in the registers of a thread,
/// those of 4000 share the kernels of a pool.
#[test]
fn several_threads_have_the_bits_of_one() {
    let heavy = |steps| descent(Momentum::new(0.04, 0.8), steps);
    let implicit = Implicit::new(heavy(8), Cg::new(4, 1e-12).unwrap());
    let methods: [Box<dyn Fn() -> Box<dyn HypergradientMethod> + Sync>; 3] = [
        Box::new(|| Box::new(Unrolled::rad(heavy(4)))),
        Box::new(|| Box::new(implicit.clone())),
        Box::new(|| Box::new(Tasks::new(3, || Ok(Unrolled::rad(heavy(2)))).unwrap())),
    ];
    for samples in [40, 4000] {
        let oracle = wide(samples);
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let points = [0.0, 0.1, 0.2].map(|h| x.axpy(h, &x));
        for make in &methods {
            let gradient = |x| {
                let problem = LowerProblem::new(&oracle, x, Samples::default());
                let found = make().hypergradient(problem, &y).unwrap();
                (found.gradient.to_vec(), found.lower.to_vec(), found.upper_loss.read())
            };
            let expected = points.each_ref().map(gradient);
            let found = thread::scope(|scope| {
                let threads = points.each_ref().map(|x| scope.spawn(move || gradient(x)));
                threads.map(|thread| thread.join().unwrap())
            });
            assert!(found == expected, "{samples} samples, {}", make().describe());
            // As many threads as there are points, fewer, and more.
            for threads in [1, 2, 3, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let all = || side_by_side(points.iter().collect(), gradient);
                assert!(pool.install(all) == expected, "{threads} threads, {samples} samples");
            }
        }
    }
}

#[test]
fn side_by_side_runs_each_item_once_and_keeps_their_order() {
    for threads in [1, 2, 3, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for count in 0..12_usize {
            let runs: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            let run = |item: usize| {
                runs[item].fetch_add(1, Ordering::Relaxed);
                10 * item
            };
            let found = pool.install(|| side_by_side((0..count).collect(), run));
            assert_eq!(found, (0..count).map(run).collect::<Vec<_>>());
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 2));
        }
    }
}

#[test]
#[should_panic(expected = "the fourth")]
fn side_by_side_hands_on_a_panic() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let run = |item| assert!(item != 3, "the fourth");
    pool.install(|| side_by_side((0..5).collect(), run));
}
