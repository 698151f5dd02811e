//! A second lower variable that tracks the lower solution.

use bilevel_program::Vector;

use super::Iterate;
use crate::error::at_least_one;
use crate::{Error, Objective, Schedule, Wrt};

/// z, moved `steps` times by `z' = Proj(z - c f_y(x, z))` at each upper step: it stands for the lower solution in the
/// value function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follow {
    pub steps: usize,
    rate: Schedule,
}

impl Follow {
    pub fn new(steps: usize, rate: impl Into<Schedule>) -> Result<Self, Error> {
        let steps = at_least_one("lower steps", steps)?;
        Ok(Self { steps, rate: rate.into().positive("step size of z")? })
    }

    /// c at upper step k.
    pub fn rate(&self, k: usize) -> f64 {
        self.rate.at(k)
    }

    /// From z to its position after the steps.
    pub fn run(&self, k: usize, at: &mut Iterate<'_>, z: Vector) -> Vector {
        (0..self.steps).fold(z, |z, _| self.step(k, at, &z))
    }

    /// One step of z.
    pub fn step(&self, k: usize, at: &mut Iterate<'_>, z: &Vector) -> Vector {
        let samples = at.draw();
        let slope = at.problem(samples).gradient(Objective::Lower, z, Wrt::Y).1.into_y();
        at.project_lower(z.axpy(-self.rate(k), &slope))
    }
}

impl std::fmt::Display for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} steps of z by {}", self.steps, self.rate)
    }
}
