//! A meta-learner: where should a network start, so that one gradient step fits a sinusoid from ten points?
//!
//! `cargo run --release -p bilevel-examples --example maml_sinusoid`

use bilevel::*;
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor, TensorData};

type Net = Vec<Linear>;

struct Regression;

impl BilevelProblem for Regression {
    type Upper = Net; // x, where y starts
    type Lower = Net;
    type Batch = (Tensor<2>, Tensor<2>); // points of one task

    fn upper_loss(&self, _: &Net, y: &Net, (t, value): &Self::Batch) -> Tensor<1> {
        let hidden = y[1].forward(y[0].forward(t.clone()).tanh()).tanh();
        (y[2].forward(hidden) - value.clone()).powi_scalar(2).mean()
    }

    fn lower_loss(&self, x: &Net, y: &Net, points: &Self::Batch) -> Tensor<1> {
        self.upper_loss(x, y, points)
    }
}

struct Sinusoids;

impl Data<(Tensor<2>, Tensor<2>)> for Sinusoids {
    fn batch(&self, objective: Objective, Sample(task): Sample) -> (Tensor<2>, Tensor<2>) {
        let spread = |i: f64| (i * 0.618_034).fract(); // evenly over [0, 1)
        let (amplitude, phase) = (1.0 + 4.0 * spread(task as f64), 3.0 * spread(1.7 * task as f64));
        let first = if objective == Objective::Lower { 0.0 } else { 0.5 };
        let t: Vec<f64> = (0..10).map(|i| 10.0 * spread(f64::from(i) + first) - 5.0).collect();
        let values = t.iter().map(|t| amplitude * (t + phase).sin()).collect();
        let column = |v: Vec<f64>| Tensor::from_data(TensorData::new(v, [10, 1]), &Device::flex());
        (column(t), column(values))
    }
}

/// The error of 8 tasks after one step, at each upper step.
pub fn run(upper_steps: usize) -> Result<Vec<f64>, Error> {
    let layer = |n, m| LinearConfig::new(n, m).init(&Device::flex());
    let net = vec![layer(1, 40), layer(40, 40), layer(40, 1)];
    let method = Tasks::new(8, || Ok(Maml::new(Descent::new(Gd::new(0.01)?, 1)?)))?;
    let adam = BurnOptimizer::new(AdamConfig::new().build(), &net, 1e-3)?;
    let solution = descend(Regression, &net, &net, Sinusoids, method, adam, upper_steps)?;
    Ok(solution.losses.into_iter().map(|(upper, _)| upper).collect())
}

fn main() -> Result<(), Error> {
    let losses = run(3000)?;
    println!("error after one step: {:.2} at first, {:.2} at last", losses[0], losses[2999]);
    Ok(())
}
