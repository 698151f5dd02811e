//! Reverse-mode hypergradients without a trajectory.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status, reverse};
use crate::lower::{Descent, ReversibleMomentum};
use crate::{Error, LowerProblem, Sampler, Snapshot};

/// [`rad`](crate::Unrolled::rad) through steps that are reversed instead of stored: its memory does not grow with T,
/// except for the few bits that [`ReversibleMomentum`] states.
///
/// Cost: 2 T gradients, T products and two values of f, one gradient of F.
///
/// It takes the place of a [`Plan`](crate::Plan), and takes no other dynamics, none of which can be reversed.
///
/// Source: D. Maclaurin, D. Duvenaud and R. P. Adams, "Gradient-based hyperparameter optimization through
/// reversible learning", 2015, Alg. 2.
#[derive(Clone, Debug)]
pub struct ReversibleRad {
    dynamics: ReversibleMomentum,
    /// The same heavy ball, which is differentiated.
    descent: Descent,
}

impl ReversibleRad {
    /// Through `steps` steps that are reversed on the way back.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn new(dynamics: ReversibleMomentum, steps: usize) -> Result<Self, Error> {
        let descent = Descent::new(dynamics.heavy_ball().clone(), steps)?;
        Ok(Self { dynamics, descent })
    }

    /// With separate data for each step: [`Descent::with_sampler`].
    pub fn with_sampler(mut self, sampler: Sampler) -> Self {
        self.descent = self.descent.with_sampler(sampler);
        self
    }
}

impl HypergradientMethod for ReversibleRad {
    fn name(&self) -> &'static str {
        "reversible-rad"
    }

    fn describe(&self) -> String {
        format!("reversible-rad({} steps of {})", self.descent.steps(), self.dynamics.describe())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        self.descent.begin(&problem, start)?;
        let through = self.descent.dynamics();
        let steps = (through, self.descent.steps());
        let (descended, mut tape) = self.dynamics.record_on(&problem, start, steps, |_| ())?;
        let status = Status::of_descent(&descended).unwrap_or(Status::Exact);
        let swept = reverse(
            &problem,
            through,
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
