//! Momentum that runs backwards without a trajectory.

use bilevel_program::Vector;

use super::lost_digits::{Fraction, LostDigits};
use super::{Descended, Dynamics, Momentum, State};
use crate::error::positive;
use crate::{Error, LowerProblem, Objective, WeightedSum};

/// The heavy ball of [`Momentum`] in fixed-point numbers, each step of which can be reversed to the last bit:
///
/// ```text
/// v' = m v - s f_y(x, y),   y' = y + v'              forward
/// y = y' - v',   v = (v' + s f_y(x, y)) / m          backward
/// ```
///
/// y and v are 64-bit integers in units of `2^-46`, on the host; m is the fraction n / d closest to the given number,
/// `d <= 4096`, exact for a decimal of three digits. What a product by m cuts off is kept: `log2(1 / m)` bits per step
/// and entry of y, and the free bits of the last word: 0.19 for m = 0.9 and 1,000 steps, where a trajectory keeps 128.
/// A reverse sweep holds that and a few vectors. Every step reads the gradient from the device.
///
/// Compared with [`Momentum`] with the m of [`ReversibleMomentum::momentum`], a step is off by at most `(d + 1) 2^-46`
/// in each entry. Hypergradients ignore this rounding.
///
/// Requires: a gradient that is reproducible bit for bit at the same y, otherwise the way back ends with
/// [`Error::NotUndone`]; entries of y and v below 32,768; `0 < m < 1`, both fixed.
///
/// Source: D. Maclaurin, D. Duvenaud and R. P. Adams, "Gradient-based hyperparameter optimization through
/// reversible learning", 2015.
#[derive(Clone, Debug, PartialEq)]
pub struct ReversibleMomentum {
    step_size: f64,
    momentum: Fraction,
    heavy_ball: Momentum,
}

/// One in fixed point.
const ONE: f64 = (1_u64 << 46) as f64;

/// Magnitudes stay below it, so far from overflow that one step cannot reach it.
const LIMIT: i64 = 1 << 61;

impl ReversibleMomentum {
    /// With the step size `s` and the momentum closest to `m`.
    ///
    /// # Errors
    /// If `s` is not finite and positive, or `m` not in `(0, 1)`.
    pub fn new(step_size: f64, momentum: f64) -> Result<Self, Error> {
        let step_size = positive("lower step size", step_size)?;
        let momentum = Fraction::near(momentum).ok_or_else(|| Error::InvalidSetting {
            setting: "momentum of reversible steps",
            found: momentum.to_string(),
            expected: "a number in (0, 1)",
            cure: "0.9 is common; without momentum, keep states by a plan",
        })?;
        Ok(Self { step_size, momentum, heavy_ball: Momentum::new(step_size, momentum.value())? })
    }

    /// The momentum `n / d`.
    pub fn momentum(&self) -> f64 {
        self.momentum.value()
    }

    /// The dynamics that it is, up to rounding.
    pub fn heavy_ball(&self) -> &Momentum {
        &self.heavy_ball
    }

    /// The name, such as `reversible momentum(step size 0.1, momentum 9/10)`.
    pub fn describe(&self) -> String {
        let Fraction { numerator, denominator } = self.momentum;
        format!(
            "reversible momentum(step size {}, momentum {numerator}/{denominator})",
            self.step_size
        )
    }

    /// Makes `steps` steps from `start`, passing to `seen` the start of each, and the end; then [`ReversibleTape::pop`]
    /// goes back.
    ///
    /// One gradient of f per step, and two values of f.
    ///
    /// # Errors
    /// If a gradient or loss is not finite, or a number exceeds the fixed-point range, naming the step.
    pub fn record<'a>(
        &'a self,
        problem: &LowerProblem<'a>,
        start: &Vector,
        steps: usize,
        seen: impl FnMut(&ReversibleTape<'a>),
    ) -> Result<(Descended, ReversibleTape<'a>), Error> {
        self.record_on(problem, start, (&self.heavy_ball, steps), seen)
    }

    /// The same on the data of the steps of `through`.
    pub(crate) fn record_on<'a>(
        &'a self,
        problem: &LowerProblem<'a>,
        start: &Vector,
        (through, steps): (&'a dyn Dynamics, usize),
        mut seen: impl FnMut(&ReversibleTape<'a>),
    ) -> Result<(Descended, ReversibleTape<'a>), Error> {
        let size = start.layout().size();
        let fixed: Vec<_> = start.to_vec().into_iter().map(|y| (y * ONE).round() as i64).collect();
        let mut tape = ReversibleTape {
            dynamics: self,
            through,
            problem: *problem,
            like: start.zeros_like(),
            t: 0,
            y: fixed.clone(),
            start: fixed,
            v: vec![0; size],
            information: LostDigits::new(self.momentum, size),
        };
        if !start.all_finite() {
            return Err(self.diverged(0, steps));
        }
        tape.check(&tape.y)?;
        let start_loss = problem.value(Objective::Lower, start).read();
        if !start_loss.is_finite() {
            return Err(self.diverged(0, steps));
        }
        for _ in 0..steps {
            seen(&tape);
            tape.push(steps)?;
        }
        seen(&tape);
        let state = tape.state();
        let end_loss = problem.value(Objective::Lower, &state.y).read();
        if !end_loss.is_finite() {
            return Err(self.diverged(steps, steps));
        }
        Ok((Descended { state, steps, start_loss, end_loss, lowers_f: through.lowers_f() }, tape))
    }

    fn diverged(&self, step: usize, steps: usize) -> Error {
        Error::LowerDiverged { dynamics: self.describe(), step, steps }
    }
}

/// The way back from the end of a [`ReversibleMomentum`] descent.
pub struct ReversibleTape<'a> {
    dynamics: &'a ReversibleMomentum,
    /// The data of each step.
    through: &'a dyn Dynamics,
    problem: LowerProblem<'a>,
    like: Vector,
    t: usize,
    /// y at the start of the forward pass; v is 0 there.
    start: Vec<i64>,
    y: Vec<i64>,
    v: Vec<i64>,
    information: LostDigits,
}

impl ReversibleTape<'_> {
    /// The state before the step that was made last, and that step, counted from 0. One gradient of f.
    ///
    /// None at the start, or where a gradient differs from that of the forward pass and numbers exceed the fixed-point
    /// range: [`ReversibleTape::check_undone`] reports it.
    pub fn pop(&mut self) -> Option<(usize, State)> {
        let t = self.t.checked_sub(1)?;
        self.y.iter_mut().zip(&self.v).for_each(|(y, v)| *y = y.saturating_sub(*v));
        let push = self.step_size_times_gradient(t)?;
        self.v.iter_mut().zip(push).for_each(|(v, push)| *v = v.saturating_add(push));
        // So that the quotients fit.
        let fits = |value: &i64, by: f64| value.unsigned_abs() as f64 / by < 2.0 * LIMIT as f64;
        let m = self.dynamics.momentum();
        if !(self.y.iter().all(|y| fits(y, 1.0)) && self.v.iter().all(|v| fits(v, m))) {
            return None;
        }
        self.information.divide(&mut self.v);
        self.t = t;
        Some((t, self.state()))
    }

    /// Whether the way back has ended where the forward pass began, in every bit.
    ///
    /// # Errors
    /// If not: a gradient differed from that of the forward pass.
    pub fn check_undone(&self) -> Result<(), Error> {
        if self.t == 0 && self.y == self.start && self.v.iter().all(|v| *v == 0) {
            return Ok(());
        }
        Err(Error::NotUndone { dynamics: self.dynamics.describe() })
    }

    /// Bits held of what products cut off; [`ReversibleTape::pop`] releases them.
    pub fn information_bits(&self) -> usize {
        self.information.bits()
    }

    fn push(&mut self, steps: usize) -> Result<(), Error> {
        let push = self.step_size_times_gradient(self.t);
        self.t += 1;
        // The first gradient is that at the start.
        let bad = if self.t == 1 { 0 } else { self.t };
        let push = push.ok_or_else(|| self.dynamics.diverged(bad, steps))?;
        self.information.multiply(&mut self.v);
        self.v.iter_mut().zip(push).for_each(|(v, push)| *v -= push);
        self.check(&self.v)?;
        self.y.iter_mut().zip(&self.v).for_each(|(y, v)| *y += v);
        self.check(&self.y)
    }

    /// In fixed point, for step `t`; none if it is not finite.
    fn step_size_times_gradient(&self, t: usize) -> Option<Vec<i64>> {
        let problem = self.problem.at_step(self.through, t);
        let gradient = problem.slope(WeightedSum::LOWER, &self.vector(&self.y)).1.to_vec();
        let scale = self.dynamics.step_size * ONE;
        let limit = LIMIT as f64;
        // A value cut off here takes any velocity out of the fixed-point range, where it is detected.
        let fixed = |g: f64| (g * scale).round().clamp(-2.0 * limit, 2.0 * limit) as i64;
        gradient.into_iter().map(|g| g.is_finite().then(|| fixed(g))).collect()
    }

    fn check(&self, fixed: &[i64]) -> Result<(), Error> {
        if fixed.iter().all(|value| value.unsigned_abs() < LIMIT as u64) {
            return Ok(());
        }
        Err(Error::FixedPoint {
            dynamics: self.dynamics.describe(),
            limit: LIMIT as f64 / ONE,
            step: self.t,
        })
    }

    /// The present state of the tape: y, and v as its memory.
    pub fn state(&self) -> State {
        State { y: self.vector(&self.y), memory: vec![self.vector(&self.v)] }
    }

    fn vector(&self, fixed: &[i64]) -> Vector {
        let values: Vec<_> = fixed.iter().map(|value| *value as f64 / ONE).collect();
        Vector::from_slice(self.like.layout(), &values, &self.like.device())
    }
}
