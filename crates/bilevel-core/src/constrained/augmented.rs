//! The augmented Lagrangian.

use std::sync::Arc;

use bilevel_program::Vector;

use super::{ActiveSet, Level, Multiplied, Multipliers, Penalised, Residual};
use crate::Error;
use crate::error::{at_least_one, positive};
use crate::linear::{LinearSolver, Minres};
use crate::minimise::{Minimiser, Newton, Stop};

/// Solves a constrained lower level: rounds of a minimisation in y and a step of the multipliers l,
///
/// ```text
/// y' = argmin_y f + sum_j (max(0, l_j + r g_j)^2 - l_j^2) / (2 r) + sum_k (l_k h_k + r h_k^2 / 2)
/// l_j' = max(0, l_j + r g_j),   l_k' = l_k + r h_k,   r' = 10 r where norm(l' - l) / r has not fallen to a quarter
/// ```
///
/// and [Newton steps](ActiveSet) on the KKT conditions as soon as they converge, from a warm start at once.
///
/// Requires: f and the constraints twice differentiable. Cost of a product within a minimisation: a product of f, one of
/// the constraints and a pullback of them.
///
/// Source: R. T. Rockafellar, "Augmented Lagrange multiplier functions and duality in nonconvex programming", 1974.
#[derive(Clone, Debug)]
pub struct AugmentedLagrangian {
    minimiser: Arc<dyn Minimiser>,
    solver: Option<Arc<dyn LinearSolver>>,
    rounds: usize,
    tolerance: f64,
    convex: bool,
}

/// The solution of a constrained lower level.
#[derive(Clone, Debug)]
pub struct Solved {
    /// y and the multipliers.
    pub at: Multiplied,
    /// f there.
    pub loss: f64,
    /// How far it is from the KKT conditions.
    pub residual: Residual,
}

/// After this many consecutive rounds that do not reduce the violation, the constraints count as infeasible.
const STUCK: usize = 2;

/// The largest y, with its multipliers, whose systems are assembled.
const DENSE: usize = 100;

impl AugmentedLagrangian {
    /// At most `rounds` rounds, until the KKT conditions hold up to `tolerance`; minimising by [`Newton`], with
    /// assembled linear systems.
    ///
    /// # Errors
    /// If `rounds` is 0 or `tolerance` not finite and positive.
    pub fn new(rounds: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self {
            minimiser: Arc::new(Newton::new(30, tolerance)?),
            solver: None,
            rounds: at_least_one("rounds of the augmented Lagrangian", rounds)?,
            tolerance: positive("tolerance of the augmented Lagrangian", tolerance)?,
            convex: false,
        })
    }

    /// For a convex level, whose stationary points are minima: the check for a minimum is left out.
    pub fn convex(mut self) -> Self {
        self.convex = true;
        self
    }

    /// With another minimiser in y.
    pub fn with_minimiser(mut self, minimiser: impl Minimiser + 'static) -> Self {
        self.minimiser = Arc::new(minimiser);
        self
    }

    /// With a solver of linear systems, which are symmetric and indefinite, such as [`Minres`](crate::Minres), for
    /// levels that are too large to assemble them.
    pub fn with_linear_solver(mut self, solver: impl LinearSolver + 'static) -> Self {
        self.solver = Some(Arc::new(solver));
        self
    }

    /// For y and multipliers of this total dimension: with [`Minres`] above 100, where products cost less than
    /// assembling.
    ///
    /// # Errors
    /// None: the settings of the solver are valid.
    pub fn for_size(self, size: usize) -> Result<Self, Error> {
        let by_products = size > DENSE;
        Ok(if by_products { self.with_linear_solver(Minres::new(10 * size, 1e-11)?) } else { self })
    }

    /// The residual at which it ends.
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// The solver of linear systems; none if they are assembled.
    pub fn linear_solver(&self) -> Option<&dyn LinearSolver> {
        self.solver.as_deref()
    }

    /// The name with the settings.
    pub fn describe(&self) -> String {
        let Self { minimiser, solver, rounds, tolerance, .. } = self;
        let minimiser = minimiser.describe();
        let solver = solver.as_ref().map_or("systems written out".into(), |s| s.describe());
        format!(
            "augmented Lagrangian(at most {rounds} rounds to {tolerance:e}, {minimiser}, {solver})"
        )
    }

    /// A solution from `y`, with the multipliers of a nearby solution if there is one. It ends when the residual is
    /// within the tolerance, or after the last round at the point with the smallest residual.
    ///
    /// # Errors
    /// If the linear solver does not fit the system, or f or a constraint is not finite at the start.
    pub fn solve<'a>(
        &'a self,
        level: &Level<'a>,
        y: &Vector,
        multipliers: Option<&[f64]>,
    ) -> Result<Solved, Error> {
        let count = level.constraints.count();
        let warm = multipliers.filter(|l| l.len() == count);
        let multipliers = warm.map_or_else(|| vec![0.0; count], <[f64]>::to_vec);
        let start = Multiplied { y: y.clone(), multipliers };
        let begun = level.see(&start);
        if !(begun.loss.is_finite() && begun.residual.largest().is_finite()) {
            let (dynamics, steps) = (self.describe(), self.rounds);
            return Err(Error::LowerDiverged { dynamics, step: 0, steps });
        }
        if count == 0 {
            let found = self.minimiser.minimise(&level.loss, y, self.tolerance);
            let at = Multiplied { y: found.at, multipliers: Vec::new() };
            let residual = Residual { stationarity: found.gradient_norm, ..Residual::default() };
            return Ok(Solved { at, loss: found.value, residual });
        }
        if let Some(found) = self.newton(level, &start)? {
            return Ok(found);
        }
        let mut stuck = 0;
        let mut multipliers =
            Multipliers::new(level.constraints.as_ref(), start.multipliers.clone());
        let mut here = start;
        let mut best = Solved { at: here.clone(), loss: begun.loss, residual: begun.residual };
        let mut inner = 1e-2 * begun.residual.stationarity.clamp(1e-2, 1.0);
        for _ in 0..self.rounds {
            let augmented = Penalised { level, terms: &multipliers };
            let found = self.minimiser.minimise(&augmented, &here.y, inner.max(self.tolerance));
            if found.stop == Stop::NotFinite {
                break;
            }
            let before = multipliers.excess;
            multipliers.step(&level.constraints.values(level.x(), &found.at));
            here = Multiplied { multipliers: multipliers.values.clone(), y: found.at };
            let seen = level.see(&here);
            if seen.residual.largest() < best.residual.largest() {
                best = Solved { at: here.clone(), loss: seen.loss, residual: seen.residual };
            }
            if best.residual.largest() <= self.tolerance {
                break;
            }
            if stuck == 0
                && let Some(found) = self.newton(level, &here)?
            {
                return Ok(found);
            }
            stuck = if multipliers.excess > 0.9 * before { stuck + 1 } else { 0 };
            if stuck == STUCK {
                break;
            }
            inner /= 10.0;
        }
        Ok(best)
    }

    /// A minimum by Newton's method, if it reaches one.
    fn newton<'a>(&'a self, level: &Level<'a>, from: &Multiplied) -> Result<Option<Solved>, Error> {
        let found = ActiveSet::newton(level, from, self.linear_solver(), self.tolerance)?;
        let Some(found) = found.filter(|found| found.residual.largest() <= self.tolerance) else {
            return Ok(None);
        };
        let is_minimum = || {
            let values = level.constraints.values(level.x(), &found.at.y);
            let set = ActiveSet::at(level.clone(), &found.at, &values, self.linear_solver());
            set.is_minimum() != Some(false)
        };
        Ok((self.convex || is_minimum()).then_some(found))
    }
}
