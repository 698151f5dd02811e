//! A game: a firm sets its output, and two others answer with theirs; Stackelberg's equilibrium in closed form.

use bilevel::*;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

/// Price `1 - x - y_1 - y_2`, cost `c` per unit. The followers' answer to x maximises a potential: each follower's own
/// profit, given the other's output.
pub struct Firms;

const COST: f64 = 0.1;

impl BilevelProblem for Firms {
    type Upper = Param<Tensor<1>>; // the leader's output
    type Lower = Param<Tensor<1>>; // the followers'
    type Batch = ();

    fn upper_loss(&self, x: &Self::Upper, y: &Self::Lower, _: &()) -> Tensor<1> {
        let price = (x.val() + y.val().sum()).neg() + 1.0;
        -(price - COST) * x.val()
    }

    fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, _: &()) -> Tensor<1> {
        let y = y.val();
        let alone = (y.clone() * (x.val().neg() + (1.0 - COST)) - y.clone().powi_scalar(2)).sum();
        let together = y.clone().slice(0..1) * y.slice(1..2);
        together - alone
    }
}

/// x and both y as found, and in equilibrium.
pub fn run(device: &Device) -> Result<[Vec<f64>; 2], Error> {
    let parameter = |values: &[f64]| Param::from_tensor(Tensor::<1>::from_data(values, device));
    let (x, y) = (parameter(&[0.1]), parameter(&[0.0, 0.0]));
    let descent = Descent::new(Gd::new(0.4)?, 40)?;
    let method = Implicit::new(descent, Cg::new(5, 1e-13)?);
    let data = FullBatch { upper: (), lower: () };
    let solution = descend(Firms, &x, &y, data, method, GradientStep::new(0.8)?, 80)?;
    let read = |of: &Param<Tensor<1>>| of.val().into_data().iter::<f64>().collect::<Vec<_>>();
    let found = [read(&solution.x), read(&solution.y)].concat();
    // The followers answer with (m - x) / 3 each, m = 1 - c; the leader's profit is x (m - x) / 3.
    let margin = 1.0 - COST;
    Ok([found, vec![margin / 2.0, margin / 6.0, margin / 6.0]])
}
