//! A custom network, and the weight decay of each of its layers, learned on validation points.
//!
//! `cargo run --release -p bilevel-examples --example custom_network`

use std::ops::ControlFlow;

use bilevel::*;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, activation};

#[derive(Module, Debug)]
struct Net {
    hidden: Linear,
    output: Linear,
}

struct LearnDecay;

fn squares(net: &Net, rows: &Tensor<2>) -> Tensor<1> {
    let hidden = activation::tanh(net.hidden.forward(rows.clone().narrow(1, 0, 1)));
    (net.output.forward(hidden) - rows.clone().narrow(1, 1, 1)).powi_scalar(2).mean()
}

impl BilevelProblem for LearnDecay {
    type Upper = Param<Tensor<1>>; // the logarithm of the weight decay of each layer
    type Lower = Net;
    type Batch = Tensor<2>; // rows of a position and a target

    fn upper_loss(&self, _: &Self::Upper, net: &Net, rows: &Tensor<2>) -> Tensor<1> {
        squares(net, rows)
    }

    fn lower_loss(&self, x: &Self::Upper, net: &Net, rows: &Tensor<2>) -> Tensor<1> {
        let sizes = [&net.hidden, &net.output].map(|layer| layer.weight.val().powi_scalar(2).sum());
        squares(net, rows) + (x.val().exp() * Tensor::cat(sizes.to_vec(), 0)).sum()
    }
}

/// A sine whose targets are off by `error`, with alternating signs.
fn sine<const N: usize>(error: f32, device: &Device) -> Tensor<2> {
    let at = |i| i as f32 / N as f32 * 2.0 - 1.0;
    let row = |i| [at(i), (2.5 * at(i)).sin() + if i % 2 == 0 { error } else { -error }];
    Tensor::from_data(std::array::from_fn::<_, N, _>(row), device)
}

/// Returns the validation loss before each upper step.
pub fn run() -> Result<Vec<f64>, Error> {
    let device = Device::flex();
    device.seed(0);
    let x = Param::from_data([-2.0, -2.0], &device);
    let net = Net {
        hidden: LinearConfig::new(1, 16).init(&device),
        output: LinearConfig::new(16, 1).init(&device),
    };
    let data = FullBatch { upper: sine::<40>(0.0, &device), lower: sine::<20>(0.3, &device) };
    let oracle = AutodiffOracle::new(LearnDecay, &x, &net, data)?;
    let method = Unrolled::rad(Descent::new(Momentum::new(0.1, 0.9)?, 100)?);
    let upper = BurnOptimizer::new(AdamConfig::new().build(), &x, 0.2)?;
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let mut solver = HypergradientSolver::new(&oracle, method, upper, x, y);
    let mut losses = Vec::new();
    Executor::new(31)?
        .observe(|progress: &Progress<'_>| {
            let loss = progress.seen.upper_loss;
            println!("step {:2}: validation loss {loss:.4}", progress.step);
            losses.push(loss);
            ControlFlow::Continue(())
        })
        .run(&mut solver)?;
    println!("logarithms of the decays: {:.2?}", solver.x().to_vec());
    Ok(losses)
}

fn main() -> Result<(), Error> {
    run().map(drop)
}
