//! Constraints that couple both variables.

use std::fmt::Debug;

use auto_impl::auto_impl;
use bilevel_program::Vector;

use super::Direction;
use crate::Error;

/// Functions `h(x, y)` of m numbers: the first must be at most 0, the last ones must be 0.
///
/// Those of a level of a [problem](crate::BilevelProblem::constraints) are [the oracle's](super::Oracle::constraints).
/// They should be few: their values are read from the device at each evaluation.
#[auto_impl(Box)]
pub trait Constraints: Debug + Send {
    /// m
    fn count(&self) -> usize;

    /// How many of them, the last ones, must be 0. The others must be at most 0.
    fn equalities(&self) -> usize {
        0
    }

    /// The values `h(x, y)`, m of them.
    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64>;

    /// The values, `h_x' w` and `h_y' w`.
    fn weighted(&self, x: &Vector, y: &Vector, weights: &[f64]) -> PulledBack;

    /// [`Constraints::weighted`] with the weights that `weigh` computes from the values.
    fn pull_back(
        &self,
        x: &Vector,
        y: &Vector,
        weigh: &mut dyn FnMut(&[f64]) -> Vec<f64>,
    ) -> PulledBack {
        let values = self.values(x, y);
        let weights = weigh(&values);
        PulledBack { values, ..self.weighted(x, y, &weights) }
    }

    /// The second derivative of `<w, h(x, y)>` in w, x and y along `(u, v)`, v a direction in x and y, as in y alone:
    ///
    /// ```text
    /// values: h_y v     x: d/dx <h_y' w, v> + h_x' u     y: d/dy <h_y' w, v> + h_y' u
    /// ```
    fn product(
        &self,
        x: &Vector,
        y: &Vector,
        weights: &[f64],
        along: (&[f64], Direction<'_>),
    ) -> PulledBack;

    /// y and m multipliers as one vector.
    fn join(&self, y: &Vector, multipliers: &[f64]) -> Vector;

    /// y and m multipliers of such a vector.
    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>);
}

/// Constraints at a point and their weighted gradient.
#[derive(Clone, Debug)]
pub struct PulledBack {
    /// `h(x, y)`
    pub values: Vec<f64>,
    /// `h_x' w`
    pub x: Vector,
    /// `h_y' w`
    pub y: Vector,
}

impl PulledBack {
    /// Refuses values that are not finite at step k: the largest of NaN and 0 would be 0.
    pub(crate) fn check(&self, k: usize) -> Result<(), Error> {
        if self.values.iter().all(|h| h.is_finite()) {
            return Ok(());
        }
        Err(Error::NotFinite {
            what: "constraint",
            step: k + 1,
            cure: "step sizes, or the penalty",
        })
    }
}

/// No constraints.
#[derive(Clone, Copy, Debug)]
pub struct Unconstrained;

impl Constraints for Unconstrained {
    fn count(&self) -> usize {
        0
    }

    fn values(&self, _: &Vector, _: &Vector) -> Vec<f64> {
        Vec::new()
    }

    fn weighted(&self, x: &Vector, y: &Vector, _: &[f64]) -> PulledBack {
        PulledBack { values: Vec::new(), x: x.zeros_like(), y: y.zeros_like() }
    }

    fn product(&self, x: &Vector, y: &Vector, w: &[f64], _: (&[f64], Direction<'_>)) -> PulledBack {
        self.weighted(x, y, w)
    }

    fn join(&self, y: &Vector, _: &[f64]) -> Vector {
        y.clone()
    }

    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>) {
        (joined.clone(), Vec::new())
    }
}
