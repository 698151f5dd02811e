//! The lower gradient as a penalty that grows, minimised over y and x in turn.

use bilevel_program::Vector;

use super::{Iterate, JointMethod, Seen};
use crate::constrained::Residual;
use crate::error::{at_least_one, positive};
use crate::{
    Constraints, Direction, Error, Loss, Objective, Oracle, Rates, Samples, Schedule, Snapshot, Wrt,
};

/// `penalty`: alternating descent on `F~ = F + g/2 (norm(h)^2 + norm(f_y)^2)`.
///
/// ```text
/// T times:  y' = y - a_k F~_y,   F~_y = F_y + f_yy (g f_y) + g h_y' h
/// x' = x - b_k F~_x,             F~_x = F_x + f_xy' (g f_y) + g h_x' h
/// once norm(F~_x)^2 + norm(F~_y)^2 <= e_k^2:   k' = k + 1,  g' = 1.1 g,  e' = 0.9 e
/// ```
///
/// On batches, one sample serves both factors of `f_yy f_y`: what is penalised is then the mean of the
/// squared norms, which vanishes at no point where batches disagree.
///
/// There is no lower solve and no inverse: at the minimum of `F~` in y, `F~_x` is the implicit
/// hypergradient. Since `F~` grows steeper with g, `a_k` should fall as `1 / g_k` does; the schedules count
/// by k. The tolerance is held against the gradient from which x was moved. Memory: none that grows. Cost of
/// a step: T + 1 gradients of F and T + 1 gradients and products of f.
///
/// Source: [A. Mehra and J. Hamm, "Penalty method for inversion-free deep bilevel optimization",
/// 2021](https://arxiv.org/abs/1911.03432), Alg. 1 and "Improvements".
#[derive(Debug)]
pub struct Penalty {
    rates: Rates,
    steps: usize,
    growth: f64,
    decay: f64,
    descent: Option<Schedule>,
    constraints: Vec<Constrained>,
    /// nu, where the method of multipliers is asked for.
    multipliers: Option<Option<Vector>>,
    gamma: f64,
    tolerance: f64,
    k: usize,
}

/// The numbers of a [`Penalty`] that have no default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PenaltySettings {
    /// T, the steps of y at each step of x.
    pub steps: usize,
    /// The first g.
    pub gamma: f64,
    /// The first tolerance: below it, g grows.
    pub tolerance: f64,
}

#[derive(Debug)]
struct Constrained {
    h: Box<dyn Constraints>,
    equal: bool,
    /// One for each constraint, where the method of multipliers is asked for; 0 before the first.
    multipliers: Vec<f64>,
}

impl Constrained {
    /// `g h + nu`, with `max(h, -nu / g)` for h where a slack variable is at its best value: what weighs the
    /// gradients of the constraints, and the next multipliers.
    fn weights(&self, h: &[f64], gamma: f64) -> Vec<f64> {
        let weight = |(at, h): (usize, &f64)| {
            let multiplier = self.multipliers.get(at).copied().unwrap_or(0.0);
            let off = if self.equal { *h } else { h.max(-multiplier / gamma) };
            gamma * off + multiplier
        };
        h.iter().enumerate().map(weight).collect()
    }
}

/// `F~`, or what is added to it, at a point.
struct Penalised {
    upper_loss: Loss,
    lower_loss: Loss,
    along_x: Option<Vector>,
    along_y: Vector,
    /// `f_y`
    slope: Vector,
    /// The values of each of the constraints.
    constraints: Vec<Vec<f64>>,
}

impl Penalty {
    /// With the factors 1.1 of g and 0.9 of the tolerance.
    ///
    /// # Errors
    /// If there are no steps, or a number is not positive.
    pub fn new(rates: Rates, settings: PenaltySettings) -> Result<Self, Error> {
        let PenaltySettings { steps, gamma, tolerance } = settings;
        Ok(Self {
            rates,
            steps: at_least_one("lower steps", steps)?,
            growth: 1.1,
            decay: 0.9,
            descent: None,
            constraints: Vec::new(),
            multipliers: None,
            gamma: positive("penalty", gamma)?,
            tolerance: positive("tolerance", tolerance)?,
            k: 0,
        })
    }

    /// With other factors of g, in place of 1.1, and of the tolerance, in place of 0.9.
    ///
    /// # Errors
    /// If the first is not above 1, or the second not in (0, 1).
    pub fn with_factors(mut self, growth: f64, decay: f64) -> Result<Self, Error> {
        if !(growth.is_finite() && growth > 1.0 && decay > 0.0 && decay < 1.0) {
            return Err(Error::InvalidSetting {
                setting: "factors of the penalty and of its tolerance",
                found: format!("{growth} and {decay}"),
                expected: "a finite number above 1 and one in (0, 1)",
                cure: "1.1 and 0.9 are common",
            });
        }
        (self.growth, self.decay) = (growth, decay);
        Ok(self)
    }

    /// With `l_k f` added where y is moved, so that of the stationary points of a non-convex f it goes to
    /// minima; l should vanish as k grows.
    ///
    /// # Errors
    /// If l is not positive.
    pub fn with_descent(mut self, l: impl Into<Schedule>) -> Result<Self, Error> {
        self.descent = Some(l.into().positive("weight of the lower loss")?);
        Ok(self)
    }

    /// With the method of multipliers: `nu' f_y` is added to `F~`, and whenever k grows, `nu' = nu + g f_y`.
    /// The same for constraints. The answer is then reached at a finite g.
    pub fn with_multipliers(mut self) -> Self {
        self.multipliers = Some(None);
        self
    }

    /// With the upper constraints `h(x, y) <= 0`, by slack variables: `h + s^2 = 0`, s at its best value all
    /// the time.
    pub fn with_inequalities(self, h: impl Constraints + 'static) -> Self {
        self.with_constraints(h, false)
    }

    /// With the upper constraints `h(x, y) = 0`.
    pub fn with_equalities(self, h: impl Constraints + 'static) -> Self {
        self.with_constraints(h, true)
    }

    fn with_constraints(mut self, h: impl Constraints + 'static, equal: bool) -> Self {
        self.constraints.push(Constrained { h: Box::new(h), equal, multipliers: Vec::new() });
        self
    }

    /// The gradient of `F~`, in x if asked for.
    fn penalised(
        &self,
        k: usize,
        at: &Iterate<'_>,
        samples: Samples,
        wrt: Wrt<'_>,
    ) -> Result<Penalised, Error> {
        let problem = at.problem(samples);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, wrt);
        let (lower_loss, slope) = problem.gradient(Objective::Lower, &at.y, Wrt::Y);
        let slope = slope.into_y();
        let along = slope.scale(self.gamma);
        let along = match &self.multipliers {
            Some(Some(multipliers)) => along.add(multipliers),
            _ => along,
        };
        let sides = upper + problem.product(Objective::Lower, &at.y, Direction::in_y(&along), wrt);
        let (mut along_x, mut along_y) = (sides.x, sides.y.unwrap_or_else(|| at.y.zeros_like()));
        let mut values = Vec::new();
        for constrained in &self.constraints {
            let mut weigh = |h: &[f64]| constrained.weights(h, self.gamma);
            let pulled = constrained.h.pull_back(&at.x, &at.y, &mut weigh);
            pulled.check(k)?;
            along_x = along_x.map(|along| along.add(&pulled.x));
            along_y = along_y.add(&pulled.y);
            values.push(pulled.values);
        }
        Ok(Penalised { upper_loss, lower_loss, along_x, along_y, slope, constraints: values })
    }

    /// To the next k.
    fn tighten(&mut self, at: &Penalised) {
        if let Some(multipliers) = &mut self.multipliers {
            let slope = at.slope.scale(self.gamma);
            *multipliers = Some(match multipliers.take() {
                Some(multipliers) => multipliers.add(&slope),
                None => slope,
            });
            for (constrained, values) in self.constraints.iter_mut().zip(&at.constraints) {
                constrained.multipliers = constrained.weights(values, self.gamma);
            }
        }
        self.gamma *= self.growth;
        self.tolerance *= self.decay;
        self.k += 1;
    }
}

impl JointMethod for Penalty {
    fn name(&self) -> &'static str {
        "penalty"
    }

    fn describe(&self) -> String {
        let Self { rates, steps, gamma, tolerance, .. } = self;
        let descent = self.descent.map(|l| format!(", lower loss by {l}")).unwrap_or_default();
        let multipliers = if self.multipliers.is_some() { ", multipliers" } else { "" };
        let kind =
            |constrained: &Constrained| if constrained.equal { ", h = 0" } else { ", h <= 0" };
        let constraints: String = self.constraints.iter().map(kind).collect();
        format!(
            "penalty({rates}, T = {steps}, gamma {gamma}, tolerance {tolerance}\
             {descent}{multipliers}{constraints})"
        )
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.constraints.iter().try_for_each(|constrained| constrained.h.check(oracle))
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        for _ in 0..self.steps {
            let samples = at.draw();
            let mut along = self.penalised(k, at, samples, Wrt::Y)?;
            if let Some(descent) = self.descent {
                along.along_y = along.along_y.axpy(descent.at(self.k), &along.slope);
            }
            at.move_y(self.rates.lower.at(self.k), &along.along_y);
        }
        let samples = at.draw();
        let mut seen = self.penalised(k, at, samples, Wrt::Both)?;
        let along_x = seen.along_x.take().unwrap_or_else(|| at.x.zeros_like());
        at.move_x(self.rates.upper.at(self.k), &along_x);
        if along_x.norm().hypot(seen.along_y.norm()) <= self.tolerance {
            self.tighten(&seen);
        }
        let Penalised { upper_loss, lower_loss, along_y, .. } = seen;
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn residual(&self, at: &Iterate<'_>) -> Residual {
        let with = |found: Residual, constrained: &Constrained| {
            let values = constrained.h.values(&at.x, &at.y);
            found.with_violation(&values, if constrained.equal { values.len() } else { 0 })
        };
        self.constraints.iter().fold(at.residual(), with)
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_numbers("gamma", &[self.gamma]);
        to.put_numbers("tolerance", &[self.tolerance]);
        to.put_count("k", self.k);
        to.put_optional_vector("multipliers", self.multipliers.as_ref().and_then(Option::as_ref));
        for (at, constrained) in self.constraints.iter().enumerate() {
            if !constrained.multipliers.is_empty() {
                to.put_numbers(&format!("constraints/{at}"), &constrained.multipliers);
            }
        }
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.gamma = from.take_number("gamma")?;
        self.tolerance = from.take_number("tolerance")?;
        self.k = from.take_count("k")?;
        if let Some(multipliers) = &mut self.multipliers {
            *multipliers = from.take_optional_vector("multipliers", &at.y)?;
        }
        for (which, constrained) in self.constraints.iter_mut().enumerate() {
            let name = format!("constraints/{which}");
            let count = constrained.h.values(&at.x, &at.y).len();
            constrained.multipliers =
                if from.has(&name) { from.take_numbers(&name, count)? } else { Vec::new() };
        }
        Ok(())
    }
}
