//! Running a dynamics.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{Dynamics, State};
use crate::error::at_least_one;
use crate::{Error, Level, Loss, Oracle, Point, Sample, Wrt};

/// What a descent keeps of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every state: T + 1 of them. The gradients and graphs of the steps are never kept.
    Trajectory,
    /// The last state.
    Last,
}

/// Where a descent led.
#[derive(Clone, Debug)]
pub struct Descended<B: Backend> {
    /// The states that were kept, in order.
    pub states: Vec<State<B>>,
    /// The last state's lower variable: `y_T`.
    pub y: Vector<B>,
    /// `f(x, y_0)`.
    pub start_loss: f64,
    /// `f(x, y_T)`.
    pub end_loss: f64,
}

impl<B: Backend> Descended<B> {
    /// Whether the steps led up and not down, by more than rounding explains.
    pub fn climbed(&self) -> bool {
        self.end_loss > self.start_loss + RISE * self.start_loss.abs()
    }
}

/// The relative rise of the lower loss that is no longer taken for rounding.
const RISE: f64 = 1e-3;

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

    /// Descends from `start`: T gradients and one value of f.
    ///
    /// # Errors
    /// If `y_T` or its loss is not finite; the error names the first bad step.
    pub fn run(
        &self,
        oracle: &dyn Oracle<B>,
        x: &Vector<B>,
        start: &Vector<B>,
        sample: Sample,
        keep: Keep,
    ) -> Result<Descended<B>, Error> {
        let mut states = Vec::new();
        let mut state = self.dynamics.start(start);
        let mut start_loss = None;
        for t in 0..self.steps {
            let (loss, next) = self.step(oracle, x, &state, sample, t);
            start_loss.get_or_insert(loss);
            let last = std::mem::replace(&mut state, next);
            if keep == Keep::Trajectory {
                states.push(last);
            }
        }
        let y = state.y.clone();
        states.push(state);
        let end_loss = oracle.value(Level::Lower, Point { x, y: &y, sample }).read();
        let start_loss = start_loss.map_or(end_loss, |loss| loss.read());
        if !(start_loss.is_finite() && end_loss.is_finite() && y.all_finite()) {
            return Err(self.diverged(oracle, x, start, sample));
        }
        Ok(Descended { states, y, start_loss, end_loss })
    }

    fn step(
        &self,
        oracle: &dyn Oracle<B>,
        x: &Vector<B>,
        state: &State<B>,
        sample: Sample,
        t: usize,
    ) -> (Loss<B>, State<B>) {
        let at = Point { x, y: &state.y, sample };
        let (loss, sides) = oracle.gradient(Level::Lower, at, Wrt::Lower);
        (loss, self.dynamics.step(t, state, &sides.into_y()))
    }

    // Steps are looked at one by one only after something went wrong: each look waits for the device.
    fn diverged(
        &self,
        oracle: &dyn Oracle<B>,
        x: &Vector<B>,
        start: &Vector<B>,
        sample: Sample,
    ) -> Error {
        let mut state = self.dynamics.start(start);
        let mut step = 0;
        while step < self.steps && state.y.all_finite() {
            state = self.step(oracle, x, &state, sample, step).1;
            step += 1;
        }
        Error::LowerDiverged { dynamics: self.dynamics.describe(), step, steps: self.steps }
    }
}
