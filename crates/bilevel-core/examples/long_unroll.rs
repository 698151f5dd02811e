//! The memory of `rad` through many lower steps, of a 784-300-10 network on 256 samples with a weight each.
//!
//! ```text
//! cargo run --release -p bilevel-core --example long_unroll -- 10000 binomial
//! ```
//!
//! The arguments are the number of lower steps and a plan: `trajectory`, `sqrt`, or `binomial` and its
//! number of states, else about `log2` of the steps. Prints the peak of the resident memory (Linux) after
//! two steps, the size of one state, and the peak after all.

use std::time::Instant;

use bilevel_core::*;
use bilevel_program::Batch;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor, activation};

const SAMPLES: usize = 256;

#[derive(Module, Debug)]
struct Network {
    hidden: Linear,
    output: Linear,
}

/// Images and the logits that are wanted for them.
#[derive(Batch, Clone, Debug)]
struct Samples {
    images: Tensor<2>,
    wanted: Tensor<2>,
}

/// `F = mean_i e_i`, `f = mean_i sigmoid(x_i) e_i`, `e_i` the squared error of sample i.
struct Weighting;

fn errors(y: &Network, batch: &Samples) -> Tensor<1> {
    let hidden = activation::relu(y.hidden.forward(batch.images.clone()));
    let off = y.output.forward(hidden) - batch.wanted.clone();
    off.powi_scalar(2).sum_dim(1).squeeze_dim(1)
}

impl BilevelProblem for Weighting {
    type Upper = Param<Tensor<1>>;
    type Lower = Network;
    type Batch = Samples;

    fn upper_loss(&self, _: &Self::Upper, y: &Network, batch: &Samples) -> Tensor<1> {
        errors(y, batch).mean()
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Network, batch: &Samples) -> Tensor<1> {
        (activation::sigmoid(x.val()) * errors(y, batch)).mean()
    }
}

/// The most memory that the process has occupied, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let steps: usize = arguments.next().unwrap_or_else(|| "100".to_owned()).parse()?;
    let plan = match arguments.next().as_deref() {
        None | Some("binomial") => match arguments.next() {
            None => Plan::logarithmic(steps),
            Some(states) => Plan::binomial(states.parse()?)?,
        },
        Some("sqrt") => Plan::Sqrt,
        Some("trajectory") => Plan::Trajectory,
        Some(other) => return Err(format!("no plan `{other}`").into()),
    };

    let device = Device::flex();
    device.seed(0);
    let x = Param::from_tensor(Tensor::<1>::zeros([SAMPLES], &device));
    let y = Network {
        hidden: LinearConfig::new(784, 300).init(&device),
        output: LinearConfig::new(300, 10).init(&device),
    };
    let draw = || Samples {
        images: Tensor::random([SAMPLES, 784], Distribution::Uniform(0.0, 1.0), &device),
        wanted: Tensor::random([SAMPLES, 10], Distribution::Uniform(0.0, 1.0), &device),
    };
    let data = FullBatch { upper: draw(), lower: draw() };
    let oracle = AutodiffOracle::new(Weighting, &x, &y, data)?;
    let (x, start) = (oracle.upper_start(), oracle.lower_start());

    let mib = start.layout().bytes() as f64 / (1 << 20) as f64;
    for (steps, plan) in [(2, Plan::Trajectory), (steps, plan)] {
        let oracle = Counted::new(&oracle);
        let before = oracle.cost();
        let begin = Instant::now();
        let mut rad = Unrolled::rad(Descent::new(Gd::new(0.001)?, steps)?).with_plan(plan);
        let problem = LowerProblem::new(&oracle, &x, bilevel_core::Samples::default());
        let found = rad.hypergradient(problem, &start)?;
        let oracle = Counted::new(&oracle);
        let cost = oracle.cost() - before;
        println!(
            "{steps} steps, {plan:?}: peak {:.1} MiB (a state has {mib:.2} MiB), {} gradients and {} \
             products of f, norm {:.3e}, {:.1} s",
            peak(),
            cost.lower_gradients,
            cost.lower_products,
            found.gradient.norm(),
            begin.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}
