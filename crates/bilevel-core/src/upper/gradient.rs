//! Plain gradient descent on x.

use bilevel_program::Vector;

use super::UpperStep;
use crate::{Error, Schedule, Snapshot};

/// `x' = x - a_k g` at upper step k: for problems whose source uses it, and for oracles without a module.
/// [`BurnOptimizer`](crate::BurnOptimizer) has the other optimisers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientStep {
    step_size: Schedule,
    made: usize,
}

impl GradientStep {
    /// With the step size `a`: a number, or a [`Schedule`] over the upper steps.
    ///
    /// # Errors
    /// If `a` is not finite and positive.
    pub fn new(step_size: impl Into<Schedule>) -> Result<Self, Error> {
        Ok(Self { step_size: step_size.into().positive("upper step size")?, made: 0 })
    }
}

impl UpperStep for GradientStep {
    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector {
        self.made += 1;
        x.axpy(-self.step_size.at(self.made - 1), gradient)
    }

    fn save(&self, to: &mut Snapshot) {
        if !matches!(self.step_size, Schedule::Constant(_)) {
            to.put_count("made", self.made);
        }
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Vector) -> Result<(), Error> {
        if !matches!(self.step_size, Schedule::Constant(_)) {
            self.made = from.take_count("made")?;
        }
        Ok(())
    }
}
