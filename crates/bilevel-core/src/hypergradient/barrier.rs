//! Hypergradients of a lower level with a barrier for its constraints.

use std::sync::Arc;

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status, lower_constraints};
use crate::constrained::{Level, Multiplied, Penalised, Residual, SmoothBarrier, Terms};
use crate::error::positive;
use crate::linear::{LinearSolver, Operator, Structure, System};
use crate::minimise::{Differentiable, Minimiser, Stop, TwiceDifferentiable};
use crate::{Error, LowerProblem, Objective, Schedule, Snapshot, Wrt};

/// `barrier`: implicit differentiation of a lower level whose constraints are a smoothed logarithmic barrier, of a weight mu
/// that falls from call to call,
///
/// ```text
/// y(x) = argmin_y phi,   phi = f + sum_j b(g_j) + sum_k h_k^2 / (2 mu)
/// phi_yy q = F_y,        g = F_x - phi_xy' q
/// b(g) = -mu ln(-g) where g <= -mu, its expansion to second order elsewhere
/// ```
///
/// the exact derivative of `F(x, y(x))` at its mu, up to the tolerance of y and the residual of q. `F(x, y(x))` is smooth
/// where `F(x, y*(x))` has a kink, as where a constraint becomes active. y is off by the order of mu, near such a point by that
/// of its root.
///
/// Requires: f and the constraints twice differentiable, `phi_yy` positive definite at y(x), as where f is strongly convex and
/// g convex; no start inside of the constraints. The constraints are those of the
/// [problem](crate::BilevelProblem::constraints). `phi_yy` is of the order of `1 / mu` across active constraints: more
/// conjugate gradients for a smaller mu. Cost: the descent, a gradient of F, and for each product one of f, one of the
/// constraints and a pullback of them.
///
/// Source: A. V. Fiacco and G. P. McCormick, "Nonlinear programming: sequential unconstrained minimization techniques", 1968;
/// for the barrier that goes on outside, A. Ben-Tal and M. Zibulevsky, "Penalty/barrier multiplier methods for convex
/// programming problems", 1997.
#[derive(Clone, Debug)]
pub struct Barrier {
    minimiser: Arc<dyn Minimiser>,
    solver: Arc<dyn LinearSolver>,
    weight: Schedule,
    least: f64,
    calls: usize,
}

impl Barrier {
    /// With `mu_k = max(weight_k, least)` at the k-th hypergradient of this value, y by `minimiser` and q by `solver`.
    ///
    /// # Errors
    /// If a weight or `least` is not finite and positive.
    pub fn new(
        weight: impl Into<Schedule>,
        least: f64,
        minimiser: impl Minimiser + 'static,
        solver: impl LinearSolver + 'static,
    ) -> Result<Self, Error> {
        Ok(Self {
            minimiser: Arc::new(minimiser),
            solver: Arc::new(solver),
            weight: weight.into().positive("weight of the barrier")?,
            least: positive("least weight of the barrier", least)?,
            calls: 0,
        })
    }

    fn barrier(&self, level: &Level<'_>, call: usize) -> SmoothBarrier {
        let mu = self.weight.at(call).max(self.least);
        let constraints = level.constraints;
        SmoothBarrier { mu, inequalities: constraints.count() - constraints.equalities() }
    }
}

impl HypergradientMethod for Barrier {
    fn name(&self) -> &'static str {
        "barrier"
    }

    fn describe(&self) -> String {
        let Self { minimiser, solver, weight, least, .. } = self;
        let (minimiser, solver) = (minimiser.describe(), solver.describe());
        format!("barrier({weight}, at least {least}, {solver} after {minimiser})")
    }

    /// By the slopes of the barrier as multipliers.
    fn residual(&self, problem: LowerProblem<'_>, y: &Vector) -> Residual {
        let constraints = lower_constraints(&problem);
        let level = Level::new(problem, constraints.as_ref());
        let barrier = self.barrier(&level, self.calls.saturating_sub(1));
        let multipliers = barrier.slopes(&constraints.values(problem.x, y));
        let found = level.residual(&Multiplied { y: y.clone(), multipliers });
        found.with_violation_of(Objective::Upper, &problem, y)
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        self.solver.check(Structure::Symmetric, start.layout().size())?;
        let constraints = lower_constraints(&problem);
        let level = Level::new(problem, constraints.as_ref());
        let barrier = self.barrier(&level, self.calls);
        let phi = Penalised { level: &level, terms: &barrier };
        let tolerance = self.minimiser.tolerance();
        let found = self.minimiser.minimise(&phi, start, tolerance);
        if found.stop == Stop::NotFinite {
            let (dynamics, steps) = (self.minimiser.describe(), found.steps);
            return Err(Error::LowerDiverged { dynamics, step: 0, steps });
        }
        let y = found.at;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &y, Wrt::Both);
        let (direct, rhs) = sides.into_both();
        let hessian = phi.hessian(&y);
        let operator = Operator::symmetric(&hessian);
        let solution = self.solver.solve(&System::new(&operator, &rhs))?;
        let stationarity = found.gradient_norm;
        let status = if stationarity > tolerance && solution.status.is_ok() {
            Status::LowerLimit { stationarity, tolerance }
        } else {
            let (solver, residual) = (solution.status, solution.residual);
            Status::Implicit { solver, residual, stationarity, relative: None }
        };
        let gradient = direct.sub(&phi.mixed(&y, &solution.q));
        self.calls += 1;
        Ok(Hypergradient {
            gradient,
            start: None,
            upper_loss,
            lower_loss: level.loss.value(&y),
            lower: y,
            status,
        })
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_count("calls", self.calls);
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Vector, _: &Vector) -> Result<(), Error> {
        self.calls = from.take_count("calls")?;
        Ok(())
    }
}
