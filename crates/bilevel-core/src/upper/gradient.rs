//! Plain gradient descent on x.

use bilevel_program::Vector;

use super::UpperStep;
use crate::error::positive;
use crate::{Error, Snapshot};

/// `x' = x - a g`: for problems whose source descends so, and for oracles without a module.
/// [`BurnOptimizer`](crate::BurnOptimizer) has the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientStep {
    step_size: f64,
}

impl GradientStep {
    /// With the step size `a`.
    ///
    /// # Errors
    /// If `a` is not finite and positive.
    pub fn new(step_size: f64) -> Result<Self, Error> {
        Ok(Self { step_size: positive("upper step size", step_size)? })
    }
}

impl UpperStep for GradientStep {
    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector {
        x.axpy(-self.step_size, gradient)
    }

    fn save(&self, _: &mut Snapshot) {}
}
