//! A lower level with many solutions, among which F has a best and a worst.

use std::f64::consts::FRAC_PI_2;

use bilevel_core::{BilevelProblem, Error};
use burn::tensor::{Device, Tensor};

use crate::instance::squared_norm;
use crate::{Instance, Values};

/// `many-solutions`: x in [0.5, 5], y in R^2.
///
/// ```text
/// F = (x - 2)^2 / 2 + x sin(y_2),   f = (y_1 - x)^2 / 2
/// ```
///
/// The lower level does not determine `y_2`. Its best solution has `sin(y_2) = -1`, and the optimistic problem the
/// solution x = 3; the worst has `sin(y_2) = 1`, and the pessimistic problem the solution x = 1. A method that uses
/// only f leaves `y_2` at its start, 0, and ends at x = 2.
///
/// Source: ours, for the two forms of [survey, Eqs. 8 and 9](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Copy, Debug)]
pub struct ManySolutions;

impl ManySolutions {
    /// x and `y_2` of the optimistic solution.
    pub const OPTIMISTIC: (f64, f64) = (3.0, -FRAC_PI_2);
    /// x and `y_2` of the pessimistic solution.
    pub const PESSIMISTIC: (f64, f64) = (1.0, FRAC_PI_2);
    /// x where `y_2` stays 0.
    pub const NEITHER: f64 = 2.0;
    /// The bounds of x.
    pub const BOUNDS: [f64; 2] = [0.5, 5.0];

    /// At the start `x`, y = 0.
    ///
    /// # Errors
    /// If the start is not finite.
    pub fn at(x: f64, device: &Device) -> Result<Instance, Error> {
        Instance::new(Self, &Values::new(&[x], device), &Values::new(&[0.0; 2], device), ())
    }
}

impl BilevelProblem for ManySolutions {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        let (x, free) = (x.val(), y.val().narrow(0, 1, 1));
        squared_norm(x.clone() - 2.0) * 0.5 + x * free.sin()
    }

    fn lower_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        squared_norm(y.val().narrow(0, 0, 1) - x.val()) * 0.5
    }
}
