//! A lower level with constraints that depend on x: solved, and differentiated.
//!
//! ```text
//! y*(x) in argmin_y f(x, y)   with g(x, y) <= 0, h(x, y) = 0
//! L(x, y, l) = f + <l, (g, h)>,   L_y = 0,   l_g >= 0,   l_g g = 0
//! ```
//!
//! [`AugmentedLagrangian`] solves it; [`ActiveSet`] is the linear system of its KKT conditions, by products, for the
//! last Newton steps and for the derivative of `y*(x)` in [`Kkt`](crate::Kkt).

mod active_set;
mod augmented;
mod barrier;
mod matrix;
mod multipliers;
mod terms;

pub use active_set::{ActiveSet, Degenerate, Response};
pub use augmented::{AugmentedLagrangian, Solved};
pub(crate) use barrier::SmoothBarrier;
pub(crate) use multipliers::Multipliers;
pub(crate) use terms::{Curved, Penalised, Terms};

use std::rc::Rc;

use bilevel_program::Vector;

use crate::minimise::{Differentiable, LowerLoss};
use crate::{Constraints, LowerProblem, Objective, Unconstrained};

/// A lower level at one x.
#[derive(Clone)]
pub struct Level<'a> {
    /// What is minimised.
    pub loss: LowerLoss<'a>,
    /// The constraints, equalities last; [`Unconstrained`] if there are none.
    pub constraints: Rc<dyn Constraints + 'a>,
}

/// A point y with a multiplier for each constraint.
#[derive(Clone, Debug)]
pub struct Multiplied {
    /// y
    pub y: Vector,
    /// l
    pub multipliers: Vec<f64>,
}

/// How far a point is from the optimality conditions of the lower level.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Residual {
    /// `norm(L_y)`
    pub stationarity: f64,
    /// The largest `max(g, 0)` or `abs(h)`.
    pub violation: f64,
    /// The largest `abs(min(l_g, -g))`: 0 if multipliers are nonnegative, and vanish where a constraint is inactive.
    pub complementarity: f64,
}

impl Residual {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { stationarity: f64::INFINITY, violation: f64::INFINITY, complementarity: 0.0 };

    /// Of a lower level that handles constraints on y by other means than multipliers, if at all: with the quantity
    /// that must be 0 there, and the constraints of both levels of the problem.
    pub fn of_slope(slope: &Vector, problem: &LowerProblem<'_>, y: &Vector) -> Self {
        let found = Self { stationarity: slope.norm(), ..Self::default() };
        [Objective::Upper, Objective::Lower]
            .into_iter()
            .fold(found, |found, level| found.with_violation_of(level, problem, y))
    }

    /// With multipliers of the lower constraints, and the violation of the upper ones; unknown as long as there are no
    /// multipliers.
    pub(crate) fn of_multipliers(
        problem: LowerProblem<'_>,
        y: &Vector,
        multipliers: &[f64],
    ) -> Self {
        let level = Level::new(problem);
        if multipliers.len() != level.constraints.count() {
            return Self::UNKNOWN;
        }
        let found = level.residual(&Multiplied { y: y.clone(), multipliers: multipliers.to_vec() });
        found.with_violation_of(Objective::Upper, &problem, y)
    }

    /// Of a lower level with a smoothed barrier of weight mu, whose slopes are the multipliers, and the violation of
    /// the upper constraints.
    pub(crate) fn of_barrier(mu: f64, problem: LowerProblem<'_>, y: &Vector) -> Self {
        let level = Level::new(problem);
        let barrier = SmoothBarrier::new(mu, level.constraints.as_ref());
        let multipliers = barrier.slopes(&level.constraints.values(problem.x, y));
        Self::of_multipliers(problem, y, &multipliers)
    }

    /// With the violation of the constraints of a level.
    pub(crate) fn with_violation_of(
        self,
        level: Objective,
        problem: &LowerProblem<'_>,
        y: &Vector,
    ) -> Self {
        let Some(constraints) = problem.constraints(level) else { return self };
        let values = constraints.values(problem.x, y);
        self.with_violation(&values, constraints.equalities())
    }

    /// With the violation of more constraints, the last `equalities` of which must be 0.
    pub(crate) fn with_violation(self, values: &[f64], equalities: usize) -> Self {
        Self { violation: larger(self.violation, violation(values, equalities)), ..self }
    }

    /// The largest of them; infinite where one is NaN.
    pub fn largest(&self) -> f64 {
        let Self { stationarity, violation, complementarity } = *self;
        [stationarity, violation, complementarity].into_iter().fold(0.0, larger)
    }
}

/// The largest `max(g, 0)` or `abs(h)`, equalities last; infinite where one is NaN.
pub(crate) fn violation(values: &[f64], equalities: usize) -> f64 {
    let (g, h) = values.split_at(values.len() - equalities);
    let all = g.iter().copied().chain(h.iter().map(|h| h.abs()));
    all.fold(0.0, larger)
}

/// The larger of two numbers, infinite if the second is NaN: `f64::max` ignores NaN.
pub(crate) fn larger(most: f64, v: f64) -> f64 {
    if v.is_nan() { f64::INFINITY } else { most.max(v) }
}

/// The values of a level at a point.
struct Seen {
    loss: f64,
    /// g, then h.
    values: Vec<f64>,
    /// `L_y`
    slope: Vector,
    residual: Residual,
}

impl<'a> Level<'a> {
    /// f with the constraints of the problem.
    pub fn new(problem: LowerProblem<'a>) -> Self {
        let constraints = problem.constraints(Objective::Lower);
        let constraints = constraints.map_or_else(|| Rc::new(Unconstrained) as Rc<_>, Rc::from);
        Self { loss: LowerLoss::new(problem), constraints }
    }

    /// x.
    fn x(&self) -> &'a Vector {
        self.loss.problem.x
    }

    /// How many constraints are inequalities; these come first.
    fn inequalities(&self) -> usize {
        self.constraints.count() - self.constraints.equalities()
    }

    fn see(&self, at: &Multiplied) -> Seen {
        let (loss, slope) = self.loss.gradient(&at.y);
        let pulled = self.constraints.weighted(self.x(), &at.y, &at.multipliers);
        let slope = slope.add(&pulled.y);
        let pairs = at.multipliers.iter().zip(&pulled.values).take(self.inequalities());
        let complementarity = pairs.map(|(l, g)| l.min(-g).abs()).fold(0.0, larger);
        let violation = violation(&pulled.values, self.constraints.equalities());
        let residual = Residual { stationarity: slope.norm(), violation, complementarity };
        Seen { loss, values: pulled.values, slope, residual }
    }

    /// How far a point is from the KKT conditions: a gradient of f and a pullback of the constraints.
    pub fn residual(&self, at: &Multiplied) -> Residual {
        self.see(at).residual
    }
}
