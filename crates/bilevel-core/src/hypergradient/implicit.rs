//! Hypergradients by the implicit function theorem.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Stationarity, Status, Tolerances};
use crate::linear::{LinearSolver, Operator, Structure, System};
use crate::lower::{Descent, State, Stepped};
use crate::{Direction, Error, Level, Objective, Snapshot, Stage, Wrt};

/// Implicit differentiation at the end of a descent: `cg`, `normal-cg`, `gmres`, `bicgstab`, `neumann`,
/// `approx-grad`, `identity`, `nystrom` or `dense`, as its [solver](crate::linear) is.
///
/// ```text
/// y_T by T lower steps,  f_yy q = F_y,  g = F_x - f_xy' q
/// ```
///
/// Memory does not grow with T. Cost: T + 1 gradients and one value of f, one gradient of F, the solver's
/// products and one more product of f.
///
/// Requires: `f_y(x, y_T) = 0` nearly and what the solver requires of `f_yy` there; the error is of the
/// order of `norm(y_T - y*)` and of the solver's residual. The status warns where `norm(f_y(x, y_T))` is above
/// [`Status::STATIONARY`] of the largest norm that a descent of this value began at.
///
/// Source: [survey, Alg. 4](https://arxiv.org/abs/2101.11517); F. Pedregosa, "Hyperparameter
/// optimization with approximate gradient", 2016.
#[derive(Debug)]
pub struct Implicit {
    descent: Descent,
    solver: Box<dyn LinearSolver>,
    tolerances: Option<Tolerances>,
    warm: bool,
    /// The solution of the last call.
    q: Option<Vector>,
    calls: usize,
    stationarity: Stationarity,
}

impl Implicit {
    /// At the end of `descent`, by `solver` from q = 0.
    pub fn new(descent: Descent, solver: impl LinearSolver + 'static) -> Self {
        let solver = Box::new(solver);
        let stationarity = Stationarity::default();
        Self { descent, solver, tolerances: None, warm: false, q: None, calls: 0, stationarity }
    }

    /// With the solver starting each time at the q of the time before, for one product more: fewer
    /// iterations where x moves little.
    pub fn with_warm_start(mut self) -> Self {
        self.warm = true;
        self
    }

    /// With a tolerance for each hypergradient, `e_k` for the k-th one that this value computes: the
    /// descent ends, before its T steps, by [`Descent::run_until`] with `e_k`, and the solver at
    /// `norm(F_y - f_yy q) <= e_k norm(F_y)`, in place of its own tolerance. Where `norm(f_y(x, y_T))` is
    /// above `e_k` nevertheless, the status is [`Status::LowerLimit`]: after T steps that do not get
    /// there; and after fewer where the last step raised the norm, as one with a velocity may and one of
    /// gradient descent on a convex f with `s <= 2 / L` does not, or where f alone is not descended.
    ///
    /// Source: F. Pedregosa, "Hyperparameter optimization with approximate gradient", 2016, Alg. 1.
    pub fn with_tolerances(mut self, tolerances: Tolerances) -> Self {
        self.tolerances = Some(tolerances);
        self
    }
}

impl HypergradientMethod for Implicit {
    fn describe(&self) -> String {
        let warm = if self.warm { ", warm q" } else { "" };
        let schedule = self.tolerances.map(|t| format!(", tolerances {t}")).unwrap_or_default();
        let (solver, descent) = (self.solver.describe(), self.descent.describe());
        format!("implicit({solver} after {descent}{warm}{schedule})")
    }

    fn run(&mut self, stage: Stage<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        self.solver.check(Structure::Symmetric, start.layout().size())?;
        let tolerance = self.tolerances.map(|tolerances| tolerances.at(self.calls));
        let mut first = None;
        let see = |_: &State, stepped: &Stepped| first = Some(stepped.gradient.clone());
        let descended = self.descent.watch(&stage, start, tolerance, see)?;
        let climbed = Status::of_descent(&descended);
        let lower = descended.state.y;
        // What depends on y_T alone is computed once for all products.
        let (_, slope, curvature) = stage.slope_and_curvature(Objective::LOWER, &lower);
        let (upper_loss, sides) = stage.gradient(Level::Upper, &lower, Wrt::Both);
        let (direct, rhs) = sides.into_both();
        let product = |v: &Vector, wrt| curvature.product(Direction::lower(v), wrt);
        let hessian = |v: &Vector| product(v, Wrt::Lower).into_y();
        let operator = Operator::symmetric(&hessian);
        let system = System::new(&operator, &rhs)
            .with_guess(self.q.as_ref().filter(|_| self.warm))
            .with_tolerance(tolerance);
        let solution = self.solver.solve(&system)?;
        let mixed = product(&solution.q, Wrt::Upper).into_x();
        let stationarity = slope.norm();
        let (solver, residual) = (solution.status, solution.residual);
        let status = match tolerance {
            Some(tolerance) if solver.is_ok() && stationarity > tolerance => {
                Status::LowerLimit { stationarity, tolerance }
            }
            _ => {
                let began = first.map_or(0.0, |gradient| gradient.norm());
                let rounding = system.epsilon().sqrt() * system.norm();
                let relative = self.stationarity.relative(began, stationarity, rounding);
                let relative = Some(relative).filter(|_| tolerance.is_none());
                Status::Implicit { solver, residual, stationarity, relative }
            }
        };
        let status = status.after(climbed);
        self.q = Some(solution.q);
        self.calls += 1;
        Ok(Hypergradient {
            gradient: direct.sub(&mixed),
            start: None,
            lower,
            upper_loss,
            lower_loss: descended.end_loss,
            status,
        })
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_count("calls", self.calls);
        self.stationarity.save(to);
        to.put_optional_vector("q", self.q.as_ref().filter(|_| self.warm));
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Vector, y: &Vector) -> Result<(), Error> {
        self.calls = from.take_count("calls")?;
        self.stationarity = Stationarity::restore(from)?;
        self.q = if self.warm { from.take_optional_vector("q", y)? } else { None };
        Ok(())
    }
}
