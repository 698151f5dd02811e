//! Running a dynamics.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{Dynamics, State};
use crate::error::at_least_one;
use crate::{Error, Level, Oracle, Point, Sample, Wrt};

/// What a descent keeps of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every state: T + 1 of them. The gradients and graphs of the steps are never kept.
    Trajectory,
    /// The last state.
    Last,
}

/// T steps of a dynamics on the lower level.
#[derive(Debug)]
pub struct Descent<B: Backend> {
    dynamics: Box<dyn Dynamics<B>>,
    steps: usize,
}

impl<B: Backend> Descent<B> {
    /// `steps` steps of `dynamics`.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn new(dynamics: impl Dynamics<B> + 'static, steps: usize) -> Result<Self, Error> {
        Ok(Self { dynamics: Box::new(dynamics), steps: at_least_one("lower steps", steps)? })
    }

    /// The dynamics.
    pub fn dynamics(&self) -> &dyn Dynamics<B> {
        self.dynamics.as_ref()
    }

    /// T.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Descends from `start`; the last state is the last of the list.
    ///
    /// # Errors
    /// If the last state is not finite. The error names the first bad step where the trajectory was
    /// kept, else the last one.
    pub fn run(
        &self,
        oracle: &dyn Oracle<B>,
        x: &Vector<B>,
        start: &Vector<B>,
        sample: Sample,
        keep: Keep,
    ) -> Result<Vec<State<B>>, Error> {
        let capacity = if keep == Keep::Trajectory { self.steps + 1 } else { 1 };
        let mut states = Vec::with_capacity(capacity);
        states.push(self.dynamics.start(start));
        for t in 0..self.steps {
            let state = &states[states.len() - 1];
            let at = Point { x, y: &state.y, sample };
            let gradient = oracle.gradient(Level::Lower, at, Wrt::Lower).1.into_y();
            let next = self.dynamics.step(t, state, &gradient);
            if keep == Keep::Last {
                states.clear();
            }
            states.push(next);
        }
        match states.last() {
            Some(last) if last.y.all_finite() => Ok(states),
            _ => Err(self.diverged(&states)),
        }
    }

    // A state that is not finite makes all later ones so: bisect.
    fn diverged(&self, states: &[State<B>]) -> Error {
        let finite = states.partition_point(|state| state.y.all_finite());
        let step = if states.len() == 1 { self.steps } else { finite };
        Error::LowerDiverged { dynamics: self.dynamics.describe(), step, steps: self.steps }
    }
}
