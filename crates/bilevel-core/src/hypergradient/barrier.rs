//! Hypergradients of a lower level with a barrier for its constraints.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Implicit};
use crate::constrained::Residual;
use crate::error::positive;
use crate::{BarrierOracle, Error, LowerProblem, Objective, Schedule, Snapshot};

/// `barrier`: implicit differentiation of a lower level whose constraints are replaced by a smoothed logarithmic
/// barrier, of a weight mu that decreases from call to call,
///
/// ```text
/// y(x) = argmin_y phi,   phi = f + sum_j b(g_j) + sum_k h_k^2 / (2 mu)
/// phi_yy q = F_y,        g = F_x - phi_xy' q
/// b(g) = -mu ln(-g) where g <= -mu, its expansion to second order elsewhere
/// ```
///
/// the exact derivative of `F(x, y(x))` at its mu, up to the tolerance of y and the residual of q: [`Implicit`] on a
/// [`BarrierOracle`] of the lower level. `F(x, y(x))` is smooth where `F(x, y*(x))` has a kink, such as where a
/// constraint becomes active. The error of y is of the order of mu, near such a point of `sqrt(mu)`.
///
/// Requires: f and the constraints twice differentiable, `phi_yy` positive definite at y(x), as where f is strongly
/// convex and g convex; the start need not be feasible. The constraints are those of the
/// [problem](crate::BilevelProblem::constraints). `phi_yy` is of the order of `1 / mu` across active constraints: a
/// smaller mu takes more iterations of conjugate gradients. Cost: the descent, a gradient of F, and for each product
/// one of f, one of the constraints and a pullback of them. [`Hypergradient::lower_loss`] includes the barrier.
///
/// Source: A. V. Fiacco and G. P. McCormick, "Nonlinear programming: sequential unconstrained minimization techniques",
/// 1968; for the extended barrier, A. Ben-Tal and M. Zibulevsky, "Penalty/barrier multiplier methods for convex
/// programming problems", 1997.
#[derive(Clone, Debug)]
pub struct Barrier {
    implicit: Implicit,
    weight: Schedule,
    least: f64,
    calls: usize,
}

impl Barrier {
    /// With `mu_k = max(weight_k, least)` at the k-th hypergradient of this value, y and q by `implicit`: after
    /// [`Newton`](crate::Newton), for example, which needs no step size as `phi_yy` grows.
    ///
    /// # Errors
    /// If a weight or `least` is not finite and positive.
    pub fn new(weight: impl Into<Schedule>, least: f64, implicit: Implicit) -> Result<Self, Error> {
        let weight = weight.into().positive("weight of the barrier")?;
        let least = positive("least weight of the barrier", least)?;
        Ok(Self { implicit, weight, least, calls: 0 })
    }

    fn mu(&self, call: usize) -> f64 {
        self.weight.at(call).max(self.least)
    }
}

impl HypergradientMethod for Barrier {
    fn name(&self) -> &'static str {
        "barrier"
    }

    fn describe(&self) -> String {
        let Self { implicit, weight, least, .. } = self;
        format!("barrier({weight}, at least {least}, {})", implicit.describe())
    }

    /// With the slopes of the barrier as multipliers.
    fn residual(&self, problem: LowerProblem<'_>, y: &Vector) -> Residual {
        Residual::of_barrier(self.mu(self.calls.saturating_sub(1)), problem, y)
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let smooth =
            BarrierOracle::new(problem.oracle, self.mu(self.calls))?.only(Objective::Lower);
        let found = self.implicit.run(LowerProblem { oracle: &smooth, ..problem }, start)?;
        self.calls += 1;
        Ok(found)
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_count("steps", self.calls);
        self.implicit.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.calls = from.take_count("steps")?;
        self.implicit.restore(from, x, y)
    }
}
