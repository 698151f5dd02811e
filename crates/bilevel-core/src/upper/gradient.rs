//! Plain gradient descent on x.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

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

impl<B: Backend> UpperStep<B> for GradientStep {
    fn step(&mut self, x: &Vector<B>, gradient: &Vector<B>) -> Vector<B> {
        x.axpy(-self.step_size, gradient)
    }

    fn save(&self, _: &mut Snapshot) {}
}
