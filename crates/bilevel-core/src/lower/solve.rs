//! Solving the lower level before an implicit formula: by T steps, or to a tolerance.

use std::sync::Arc;

use bilevel_program::Vector;

use super::{Descent, Dynamics, State, Stepped};
use crate::hypergradient::Status;
use crate::minimise::{LowerLoss, Minimiser, Stop};
use crate::{Error, LowerProblem};

/// How the lower level is solved.
#[derive(Clone, Debug)]
pub enum LowerSolve {
    /// By T steps of a dynamics.
    Steps(Descent),
    /// To a norm of its gradient.
    Minimised(Arc<dyn Minimiser>),
}

impl From<Descent> for LowerSolve {
    fn from(descent: Descent) -> Self {
        Self::Steps(descent)
    }
}

impl<M: Minimiser + 'static> From<M> for LowerSolve {
    fn from(minimiser: M) -> Self {
        Self::Minimised(Arc::new(minimiser))
    }
}

/// Where the solution ended.
pub(crate) struct SolvedLower {
    pub y: Vector,
    /// f there.
    pub loss: f64,
    /// The norm of the gradient of the first step; 0 before a minimiser.
    pub start_norm: f64,
    /// The status of steps that increased f.
    pub climbed: Option<Status>,
    /// The tolerance for the norm of the gradient, if there was one.
    pub tolerance: Option<f64>,
    /// The norm at which a minimiser ended: of the gradient, or of `y - P(y - f_y)` in a set.
    pub residual: Option<f64>,
}

impl LowerSolve {
    /// The name with the settings.
    pub fn describe(&self) -> String {
        match self {
            Self::Steps(descent) => descent.describe(),
            Self::Minimised(minimiser) => minimiser.describe(),
        }
    }

    /// The last step and its number, if the steps are those of a dynamics.
    pub(crate) fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        match self {
            Self::Steps(descent) => Some(descent.last_step()),
            Self::Minimised(_) => None,
        }
    }

    /// From `start`, to `tolerance` where there is one.
    pub(crate) fn solve(
        &self,
        problem: &LowerProblem<'_>,
        start: &Vector,
        tolerance: Option<f64>,
    ) -> Result<SolvedLower, Error> {
        match self {
            Self::Steps(descent) => {
                let mut start_norm = 0.0;
                let see = |_: &State, stepped: &Stepped| start_norm = stepped.gradient.norm();
                let ended = descent.watch(problem, start, tolerance, see)?;
                let (climbed, loss) = (Status::of_descent(&ended), ended.end_loss);
                let (y, residual) = (ended.state.y, None);
                Ok(SolvedLower { y, loss, start_norm, climbed, tolerance, residual })
            }
            Self::Minimised(minimiser) => {
                let tolerance = tolerance.unwrap_or(minimiser.tolerance());
                let found = minimiser.minimise(&LowerLoss::new(*problem), start, tolerance);
                if found.stop == Stop::NotFinite {
                    let dynamics = minimiser.describe();
                    return Err(Error::LowerDiverged { dynamics, step: 0, steps: found.steps });
                }
                let (y, loss, residual) = (found.at, found.value, Some(found.gradient_norm));
                let (start_norm, climbed, tolerance) = (0.0, None, Some(tolerance));
                Ok(SolvedLower { y, loss, start_norm, climbed, tolerance, residual })
            }
        }
    }
}
