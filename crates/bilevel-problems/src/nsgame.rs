//! A bilevel problem that can be solved as a game.

use bilevel_core::{BilevelProblem, Error};
use burn::tensor::{Device, Tensor};

use crate::instance::squared_norm;
use crate::{Instance, Pair, Values};

/// `nsgame-toy`: x, y_1, y_2 in R^n, n = 5.
///
/// ```text
/// F = norm(x - y_1)^2 / 2 + norm(y_2 - e)^2 / 2
/// f = -<x, y_1> + norm(y_1)^2 / 2 + norm(x - y_2)^2 / 2
/// ```
///
/// with e the vector of ones. Solution: x = y_1 = y_2 = e.
///
/// Source: NSGame, Eqs. 9 and 10: with rates 0.005 for x and 0.5 for y the game converges to the solution;
/// with the rates swapped it does not.
#[derive(Clone, Copy, Debug)]
pub struct NsgameToy;

impl NsgameToy {
    /// The dimension n of the source.
    pub const SIZE: usize = 5;
    /// Every entry of the solution.
    pub const ANSWER: f64 = 1.0;

    /// At the start `x`, `y_1`, `y_2`.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn at(
        x: &[f64; Self::SIZE],
        y: [&[f64; Self::SIZE]; 2],
        device: &Device,
    ) -> Result<Instance, Error> {
        Instance::new(Self, &Values::new(x, device), &Pair::new(y[0], y[1], device), ())
    }
}

impl BilevelProblem for NsgameToy {
    type Upper = Values;
    type Lower = Pair;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Pair, _: &()) -> Tensor<1> {
        (squared_norm(x.val() - y.first.val()) + squared_norm(y.second.val() - 1.0)) * 0.5
    }

    fn lower_loss(&self, x: &Values, y: &Pair, _: &()) -> Tensor<1> {
        let (x, first) = (x.val(), y.first.val());
        let apart = squared_norm(x.clone() - y.second.val());
        (squared_norm(first.clone()) + apart) * 0.5 - (x * first).sum()
    }
}
