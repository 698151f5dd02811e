//! A lower level with several solutions.

use bilevel_core::{BilevelProblem, Error};
use burn::tensor::{Device, Tensor};

use crate::instance::squared_norm;
use crate::{Instance, Values};

/// `bda-counterexample`: x in [-100, 100], y in R^2.
///
/// ```text
/// F = (x - y_2)^2 / 2 + (y_1 - 1)^2 / 2,   f = y_1^2 / 2 - x y_1
/// ```
///
/// The lower level does not determine `y_2`. Solution: x = 1, y = (1, 1). A method that uses only f leaves `y_2` at its
/// start: from `y_2 = 0` it stays at x <= 1/2 for any number of steps.
///
/// Source: BDA, Eq. 5, with s_u = 0.7, s_l = 0.2 and K = 16 lower steps.
#[derive(Clone, Copy, Debug)]
pub struct BdaCounterexample;

impl BdaCounterexample {
    /// The solution: x.
    pub const X: f64 = 1.0;
    /// The solution: y.
    pub const Y: [f64; 2] = [1.0, 1.0];
    /// The bounds of x.
    pub const BOUNDS: [f64; 2] = [-100.0, 100.0];

    /// At the start `x`, `y`.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn at(x: f64, y: [f64; 2], device: &Device) -> Result<Instance, Error> {
        Instance::new(Self, &Values::new(&[x], device), &Values::new(&y, device), ())
    }
}

impl BilevelProblem for BdaCounterexample {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        let y = y.val();
        let apart = squared_norm(x.val() - y.clone().narrow(0, 1, 1));
        (apart + squared_norm(y.narrow(0, 0, 1) - 1.0)) * 0.5
    }

    fn lower_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        let first = y.val().narrow(0, 0, 1);
        squared_norm(first.clone()) * 0.5 - x.val() * first
    }
}
