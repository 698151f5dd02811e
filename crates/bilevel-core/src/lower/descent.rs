//! Running a dynamics.

use std::ops::ControlFlow;
use std::sync::{Arc, Once};

use bilevel_program::Vector;

use super::{Dynamics, Plan, Sampled, State, Stepped, Tape, step};
use crate::error::at_least_one;
use crate::{Error, Loss, LowerProblem, Objective, Sampler};

/// The result of a descent.
#[derive(Clone, Debug)]
pub struct Descended {
    /// The last state; its y is `y_T`.
    pub state: State,
    /// The number of steps made: T, or fewer if the tolerance was met earlier.
    pub steps: usize,
    /// `f(x, y_0)`.
    pub start_loss: f64,
    /// `f(x, y_T)`.
    pub end_loss: f64,
    /// Whether f should decrease: [`Dynamics::lowers_f`].
    pub lowers_f: bool,
}

impl Descended {
    /// Whether the steps increased f where they should decrease it, by more than rounding explains.
    pub fn climbed(&self) -> bool {
        self.lowers_f && self.end_loss > self.start_loss + RISE * self.start_loss.abs()
    }
}

/// The relative increase of the lower loss above which it is not attributed to rounding.
const RISE: f64 = 1e-3;

/// T steps of a dynamics on the lower level.
#[derive(Clone, Debug)]
pub struct Descent {
    dynamics: Arc<dyn Dynamics>,
    steps: usize,
    sampler: Option<Arc<Sampler>>,
    /// Whether the warning that only an eps bounds the slopes was given.
    at_rest: Arc<Once>,
}

impl Descent {
    /// `steps` steps of `dynamics`.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn new(dynamics: impl Dynamics + 'static, steps: usize) -> Result<Self, Error> {
        let steps = at_least_one("lower steps", steps)?;
        Ok(Self { steps, ..Self::once(dynamics) })
    }

    /// One step of `dynamics`.
    pub fn once(dynamics: impl Dynamics + 'static) -> Self {
        Self {
            dynamics: Arc::new(dynamics),
            steps: 1,
            sampler: None,
            at_rest: Arc::new(Once::new()),
        }
    }

    /// With separate data for each step, as in stochastic gradient descent: step t of hypergradient k takes the
    /// gradients of its losses on draw `k T + t` of their level, forward and backward. Draws follow from their number,
    /// so nothing is saved with a run, and a resumed run draws the same. Where t counts on from call to call, as with
    /// [`Unrolled::keeping`](crate::Unrolled::keeping), it is draw `k T + (t mod T)`.
    ///
    /// The losses at both ends are those of the hypergradient's own sample, at the cost of one value of f; so are the
    /// derivatives of `Implicit`. Those of `FixedPoint` are on the draw of its last step.
    pub fn with_sampler(mut self, sampler: Sampler) -> Self {
        let sampler = Arc::new(sampler);
        self.dynamics =
            Arc::new(Sampled { inner: self.dynamics, sampler: sampler.clone(), steps: self.steps });
        self.sampler = Some(sampler);
        self
    }

    /// The dynamics.
    pub fn dynamics(&self) -> &dyn Dynamics {
        self.dynamics.as_ref()
    }

    /// The dynamics, and the number of its last step.
    pub(crate) fn last_step(&self) -> (usize, &dyn Dynamics) {
        (self.steps - 1, self.dynamics())
    }

    /// T.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The name, such as `30 steps of gd(step size 0.1)`.
    pub fn describe(&self) -> String {
        format!("{} steps of {}", self.steps, self.dynamics.describe())
    }

    /// Descends from `start`: T gradients and one value of f.
    ///
    /// # Errors
    /// If the dynamics does not fit the variables, or the sampler the data, before anything runs; if `y_T` or its loss is not
    /// finite, naming the first bad step, or if the loss or its gradient at the start is not, naming step 0.
    pub fn run(&self, problem: &LowerProblem<'_>, start: &Vector) -> Result<Descended, Error> {
        self.watch(problem, start, None, |_, _| ())
    }

    /// The same, ending after the first step whose gradient has at most the norm `tolerance`, or after
    /// T. Every step waits for the device.
    ///
    /// The norm is that of the gradient that the step takes, at its query point and not at `y_T`; and it is the
    /// gradient of [`Dynamics::objective`], which need not be f alone.
    ///
    /// # Errors
    /// As [`Descent::run`].
    pub fn run_until(
        &self,
        problem: &LowerProblem<'_>,
        start: &Vector,
        tolerance: f64,
    ) -> Result<Descended, Error> {
        self.watch(problem, start, Some(tolerance), |_, _| ())
    }

    /// [`Descent::run`], or [`Descent::run_until`] with a tolerance; `first` sees the state before the first step, and
    /// the result of that step.
    pub(crate) fn watch(
        &self,
        problem: &LowerProblem<'_>,
        start: &Vector,
        tolerance: Option<f64>,
        mut first: impl FnMut(&State, &Stepped),
    ) -> Result<Descended, Error> {
        let state = self.begin(problem, start)?;
        self.walk(problem, (0, state), false, |t, state, stepped| {
            if t == 0 {
                first(state, stepped);
            }
            let met = tolerance.is_some_and(|tolerance| stepped.gradient.norm() <= tolerance);
            if met { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// The state that starts at `start`.
    ///
    /// # Errors
    /// If the dynamics does not fit the variables, or the sampler the data.
    pub(crate) fn begin(&self, problem: &LowerProblem<'_>, start: &Vector) -> Result<State, Error> {
        if let Some(sampler) = &self.sampler {
            sampler.check(problem.oracle)?;
        }
        self.dynamics.check(problem.x, start)?;
        Ok(self.dynamics.start(start))
    }

    /// T more steps that will be differentiated, the first of them step `from.0` from the state `from.1`; `seen` gets
    /// each step, its number and the state before it, and may end the descent after it.
    pub(crate) fn go_on(
        &self,
        problem: &LowerProblem<'_>,
        from: (usize, State),
        seen: impl FnMut(usize, &State, &Stepped) -> ControlFlow<()>,
    ) -> Result<Descended, Error> {
        self.walk(problem, from, true, seen)
    }

    /// T steps from the state `from.1`, the first of them step `from.0`; `seen` gets the state after each step.
    ///
    /// # Errors
    /// As [`Descent::run`], but that the caller has checked the variables ([`Descent::begin`]).
    pub(crate) fn follow(
        &self,
        problem: &LowerProblem<'_>,
        from: (usize, State),
        mut seen: impl FnMut(&State),
    ) -> Result<Descended, Error> {
        self.walk(problem, from, false, |_, _, stepped| {
            seen(&stepped.state);
            ControlFlow::Continue(())
        })
    }

    fn walk(
        &self,
        problem: &LowerProblem<'_>,
        from: (usize, State),
        through: bool,
        mut seen: impl FnMut(usize, &State, &Stepped) -> ControlFlow<()>,
    ) -> Result<Descended, Error> {
        let mut state = from.1.clone();
        let mut first = FirstLoss(None);
        let mut steps = 0;
        while steps < self.steps {
            let t = from.0 + steps;
            let stepped = step(problem, self.dynamics(), t, &state);
            steps += 1;
            first.see(&stepped);
            let goes_on = seen(t, &state, &stepped).is_continue();
            state = stepped.state;
            if !goes_on {
                break;
            }
        }
        self.finish(problem, from, (steps, state), (first, through))
    }

    /// Descends as [`Descent::run`] does, and keeps the states of the last `tail` steps by `plan`. The gradients and
    /// graphs of the steps are never kept.
    ///
    /// # Errors
    /// As [`Descent::run`].
    pub fn record<'a>(
        &'a self,
        problem: &LowerProblem<'a>,
        start: &Vector,
        plan: Plan,
        tail: usize,
    ) -> Result<(Descended, Tape<'a>), Error> {
        let begin = (0, self.begin(problem, start)?);
        self.record_and_see(problem, begin, plan, tail, |_| ())
    }

    /// [`Descent::follow`], with the states of the last `tail` steps.
    pub(crate) fn record_and_see<'a>(
        &'a self,
        problem: &LowerProblem<'a>,
        from: (usize, State),
        plan: Plan,
        tail: usize,
        mut seen: impl FnMut(&State),
    ) -> Result<(Descended, Tape<'a>), Error> {
        let mut first = FirstLoss(None);
        let mut see = |stepped: &Stepped| {
            first.see(stepped);
            seen(&stepped.state);
        };
        let mut state = from.1.clone();
        let (taped, end) = (from.0 + self.steps.saturating_sub(tail), from.0 + self.steps);
        for t in from.0..taped {
            let stepped = step(problem, self.dynamics(), t, &state);
            see(&stepped);
            state = stepped.state;
        }
        let mut tape = Tape::new(plan, *problem, self.dynamics(), (taped, state), end);
        let state = tape.advance(end, see);
        let descended = self.finish(problem, from, (self.steps, state), (first, true))?;
        Ok((descended, tape))
    }

    fn finish(
        &self,
        problem: &LowerProblem<'_>,
        from: (usize, State),
        (steps, state): (usize, State),
        (first, through): (FirstLoss, bool),
    ) -> Result<Descended, Error> {
        let end = problem.value(Objective::Lower, &state.y);
        // The first step uses another sample of f.
        let start =
            first.0.filter(|_| self.dynamics.samples(from.0, problem.samples) == problem.samples);
        let start = start.unwrap_or_else(|| problem.value(Objective::Lower, &from.1.y));
        let at_rest = || self.dynamics.at_rest(from.0 + steps, &state).map(Loss::new);
        let at_rest = if through { at_rest() } else { None };
        let numbers = Loss::read_all([start, end].into_iter().chain(at_rest).collect());
        let (start_loss, end_loss) = (numbers[0], numbers[1]);
        if numbers.get(2).is_some_and(|count| *count > 0.0) {
            self.at_rest.call_once(|| {
                tracing::warn!(
                    dynamics = self.dynamics.describe(),
                    entries = numbers[2],
                    "the lower steps came to rest: eps alone bounds the slope of a step there, and the \
                     hypergradient may be huge; use a larger eps, fewer steps, or gd"
                );
            });
        }
        if !start_loss.is_finite() {
            return Err(self.diverged_at(0));
        }
        if end_loss.is_finite() && state.y.all_finite() {
            let lowers_f = self.dynamics.lowers_f();
            return Ok(Descended { state, steps, start_loss, end_loss, lowers_f });
        }
        Err(self.diverged(problem, from))
    }

    // Steps are checked one by one only after something went wrong: each check waits for the device.
    fn diverged(&self, problem: &LowerProblem<'_>, (from, mut state): (usize, State)) -> Error {
        let mut made = 0;
        while made < self.steps && state.y.all_finite() {
            let stepped = step(problem, self.dynamics(), from + made, &state);
            if made == 0 && !stepped.gradient.all_finite() {
                break;
            }
            state = stepped.state;
            made += 1;
        }
        self.diverged_at(made)
    }

    fn diverged_at(&self, step: usize) -> Error {
        Error::LowerDiverged { dynamics: self.dynamics.describe(), step, steps: self.steps }
    }
}

/// f at the start, from the gradient that the first step computes there anyway.
struct FirstLoss(Option<Loss>);

impl FirstLoss {
    fn see(&mut self, stepped: &Stepped) {
        if self.0.is_none() {
            self.0.clone_from(&stepped.loss);
        }
    }
}
