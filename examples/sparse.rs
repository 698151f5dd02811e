//! `solve` on a large sparse problem: 10,000 lower variables in a chain, and a capacity for each 10 of them, which the upper
//! level sets. `cargo run --release -p bilevel-examples --example sparse`
//!
//! ```text
//! f = sum (y_{i+1} - y_i)^2 / 2 + sum y_i^2 / 2 - <b, y>   with y_{10 j} + ... + y_{10 j + 9} <= x_j
//! F = norm(y - t)^2 / 2 + norm(x)^2 / 200
//! ```

use std::time::Instant;

use bilevel_core::{BilevelProblem, Conditions, Error, FullBatch, Objective, solve};
use burn::module::Param;
use burn::tensor::{Device, FloatDType, IntDType, Tensor, TensorData};

type Values = Param<Tensor<1>>;

struct Chain {
    blocks: usize,
    length: usize,
}

impl Chain {
    fn size(&self) -> usize {
        self.blocks * self.length
    }

    /// A smooth list, as long as y.
    fn wave(&self, like: &Tensor<1>, of: impl Fn(f64) -> f64) -> Tensor<1> {
        let values: Vec<f64> = (0..self.size()).map(|i| of(i as f64)).collect();
        Tensor::from_data(TensorData::new(values, [self.size()]), (&like.device(), like.dtype()))
    }
}

impl BilevelProblem for Chain {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let target = self.wave(&y.val(), |i| 0.5 + 0.3 * (i / 700.0).cos());
        let near = (y.val() - target).powi_scalar(2).sum() * 0.5;
        near + x.val().powi_scalar(2).sum() * 0.005
    }

    fn lower_loss(&self, _: &Values, y: &Values, (): &()) -> Tensor<1> {
        let (y, n) = (y.val(), self.size());
        let gain = self.wave(&y, |i| 1.0 + 0.4 * (i / 300.0).sin());
        let along = (y.clone().slice(1..n) - y.clone().slice(0..n - 1)).powi_scalar(2).sum();
        (along + y.clone().powi_scalar(2).sum()) * 0.5 - (gain * y).sum()
    }

    fn constraints(&self, level: Objective, x: &Values, y: &Values, (): &()) -> Conditions {
        if level == Objective::Upper {
            return Conditions::default();
        }
        let blocks = y.val().reshape([self.blocks, self.length]).sum_dim(1).reshape([self.blocks]);
        Conditions::at_most_zero(blocks - x.val())
    }
}

fn main() -> Result<(), Error> {
    let device = Device::flex();
    device.configure((FloatDType::F64, IntDType::I64)).expect("nothing was computed before");
    for blocks in [10, 100, 1000] {
        let problem = Chain { blocks, length: 10 };
        let values =
            |value: f64, n: usize| Param::from_data(TensorData::new(vec![value; n], [n]), &device);
        let (x, y) = (values(8.0, blocks), values(0.5, problem.size()));
        let begin = Instant::now();
        let answer = solve(problem, &x, &y, FullBatch { upper: (), lower: () })?;
        let cost = answer.account.cost;
        println!(
            "{} variables, {blocks} constraints: {:.1} s, {} products of f, F = {:.6}, violation {:.1e}, {}",
            10 * blocks,
            begin.elapsed().as_secs_f64(),
            cost.lower_products,
            answer.upper_loss,
            answer.violation,
            answer.end,
        );
        println!("  {}", answer.account);
    }
    Ok(())
}
