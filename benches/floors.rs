//! Lower bounds on the time of workloads of `bilevel hypergrad` on this machine: their multiplications at the rate of a
//! large product, and the bytes that they must read at the rate of a copy, both measured here.
//!
//! `cargo bench -p bilevel-benches --bench floors` prints a Markdown table. docs/PERFORMANCE.md has such bounds for one
//! machine.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

use bilevel_flex::{FastFlex, FlexDevice};
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Distribution, FloatDType, Shape};
use mimalloc::MiMalloc;

#[global_allocator]
static HEAP: MiMalloc = MiMalloc;

/// Samples and pixels of `softmax` and `mlp`, and the hidden units of `mlp`.
const SAMPLES: usize = 5000;
const PIXELS: usize = 784;
const HIDDEN: usize = 300;
const ROUNDS: usize = 21;

/// The least work of a hypergradient.
struct Workload {
    name: &'static str,
    /// Multiplications and additions, in units of one product `[5000, 784] x [784, 300]`.
    products: f64,
    /// Passes over `[5000, 784]` numbers of 4 bytes.
    passes: f64,
}

/// A gradient of `mlp` takes two such products, a backward step two more, `plan trajectory` one of them again; the
/// upper gradient two. `softmax` has no large product, and reads X where `mlp` would multiply it. Below, T = 10.
const WORKLOADS: [Workload; 6] = [
    Workload { name: "softmax rad T=10 plan results", products: 0.0, passes: 42.0 },
    Workload { name: "mlp rad T=10 plan results", products: 42.0, passes: 42.0 },
    Workload { name: "mlp rad T=10", products: 52.0, passes: 52.0 },
    Workload { name: "mlp rad T=100", products: 502.0, passes: 502.0 },
    Workload { name: "mlp cg T=10 20 iterations", products: 67.0, passes: 67.0 },
    // Four blocks on 25 images, gradients and backward steps: 28 GFLOP.
    Workload { name: "conv rad T=5", products: 28.0 / 2.352, passes: 0.0 },
];

fn median(mut timed: impl FnMut()) -> f64 {
    timed();
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            timed();
            begin.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}

fn main() {
    let random = |rows, columns| {
        let (shape, noise) = (Shape::new([rows, columns]), Distribution::Uniform(-1.0, 1.0));
        FastFlex::float_random(shape, noise, &FlexDevice, FloatDType::F32)
    };
    let (x, w) = (random(SAMPLES, PIXELS), random(PIXELS, HIDDEN));
    let product = median(|| drop(black_box(FastFlex::float_matmul(x.clone(), w.clone()))));

    let threads = thread::available_parallelism().map_or(1, usize::from);
    let from = vec![1.0_f32; SAMPLES * PIXELS];
    let mut to = vec![0.0_f32; SAMPLES * PIXELS];
    let share = from.len().div_ceil(threads);
    let copy = median(|| {
        thread::scope(|scope| {
            for (from, to) in from.chunks(share).zip(to.chunks_mut(share)) {
                scope.spawn(move || black_box(to).copy_from_slice(black_box(from)));
            }
        });
    });

    let work = 2e-9 * (SAMPLES * PIXELS * HIDDEN) as f64;
    let bytes = 4e-9 * (SAMPLES * PIXELS) as f64;
    println!(
        "{threads} threads, {:.0} GFLOP/s of a product of {:.2} ms",
        work / product,
        1e3 * product
    );
    println!(
        "{:.1} GB/s read and as many written by a copy of {:.1} MB\n",
        bytes / copy,
        1e3 * bytes
    );
    println!("| hypergradient | GFLOP | floor by them, s | GB read | floor by them, s |");
    println!("|---|---:|---:|---:|---:|");
    for Workload { name, products, passes } in WORKLOADS {
        println!(
            "| {name} | {:.1} | {:.3} | {:.2} | {:.3} |",
            products * work,
            products * product,
            passes * bytes,
            // A pass reads what a copy reads, and writes little.
            passes * copy / 2.0
        );
    }
}
