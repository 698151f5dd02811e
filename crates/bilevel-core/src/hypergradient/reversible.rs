//! Reverse-mode hypergradients without a trajectory.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status, reverse};
use crate::error::at_least_one;
use crate::lower::ReversibleMomentum;
use crate::{Error, LowerProblem, Snapshot};

/// [`rad`](crate::Unrolled::rad) through steps that are undone, and not kept: its memory does not grow with T but for the few
/// bits that [`ReversibleMomentum`] states.
///
/// Cost: 2 T gradients, T products and two values of f, one gradient of F.
///
/// It has no [`Plan`](crate::Plan), being one, and takes no other dynamics, none of which can be undone.
///
/// Source: D. Maclaurin, D. Duvenaud and R. P. Adams, "Gradient-based hyperparameter optimization through
/// reversible learning", 2015, Alg. 2.
#[derive(Clone, Debug, PartialEq)]
pub struct ReversibleRad {
    dynamics: ReversibleMomentum,
    steps: usize,
}

impl ReversibleRad {
    /// Through `steps` steps that are undone on the way back.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn new(dynamics: ReversibleMomentum, steps: usize) -> Result<Self, Error> {
        Ok(Self { dynamics, steps: at_least_one("lower steps", steps)? })
    }
}

impl HypergradientMethod for ReversibleRad {
    fn name(&self) -> &'static str {
        "reversible-rad"
    }

    fn describe(&self) -> String {
        format!("reversible-rad({} steps of {})", self.steps, self.dynamics.describe())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let (descended, mut tape) = self.dynamics.record(&problem, start, self.steps, |_| ())?;
        let status = Status::of_descent(&descended).unwrap_or(Status::Exact);
        let heavy_ball = self.dynamics.heavy_ball();
        let swept = reverse(
            &problem,
            heavy_ball,
            &descended.state,
            || tape.pop().map(|(t, state)| (t, state, None)),
            false,
        );
        tape.check_undone()?;
        Ok(Hypergradient {
            gradient: swept.x,
            start: None,
            lower: descended.state.y,
            upper_loss: swept.upper_loss,
            lower_loss: descended.end_loss,
            status,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
