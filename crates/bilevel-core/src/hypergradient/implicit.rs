//! Hypergradients by the implicit function theorem.

use std::sync::Arc;

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Stationarity, Status};
use crate::error::not_negative;
use crate::linear::{LinearSolver, Operator, Structure, System};
use crate::lower::{LastStep, LowerSolve, SolvedLower};
use crate::{
    Direction, Dynamics, Error, LowerProblem, Objective, Schedule, Snapshot, WeightedSum, Wrt,
};

/// Implicit differentiation at the end of a descent or of a [minimiser](crate::minimise): `cg`, `normal-cg`, `gmres`,
/// `bicgstab`, `neumann`, `approx-grad`, `identity`, `nystrom` or `dense`, depending on its [solver](crate::linear).
///
/// ```text
/// y_T by T lower steps, or with norm(f_y(x, y_T)) <= e,  f_yy q = F_y,  g = F_x - f_xy' q
/// ```
///
/// Memory does not grow with T. Cost: T + 1 gradients and one value of f, one gradient of F, the solver's products and
/// one more product of f.
///
/// Requires: `f_y(x, y_T)` close to 0, and what the solver requires of `f_yy` there; the error is of the order of
/// `norm(y_T - y*)` and of the solver's residual. The status warns where `norm(f_y(x, y_T))` is above
/// [`Status::STATIONARY`] times the largest norm at the start of a descent of this value, and where the derivative of
/// `y*` is another one than that of f, because of a set, a proximal map, weight decay or a share of F
/// ([`Status::Composite`]). That is told by the derivative of the last step at `y_T`: the formula is right if, along q,
/// the step leaves y alone where no gradient moves it,
///
/// ```text
/// U_y q = q,  U_x' q = 0,  a F_yy q = 0,  a F_xy' q = 0        y' = U(y, g; x),  g = a F_y + b f_y
/// ```
///
/// and, for steps that scale each entry, only then; up to the rounding of a step, below which a decay does not move y. So
/// a bound that holds entries where q is 0 is no warning, nor a lasso of fixed weight at a y without zeros. After a
/// minimiser in a set any bound that holds y is one.
///
/// Source: [survey, Alg. 4](https://arxiv.org/abs/2101.11517); F. Pedregosa, "Hyperparameter
/// optimization with approximate gradient", 2016.
#[derive(Clone, Debug)]
pub struct Implicit {
    lower: LowerSolve,
    solver: Arc<dyn LinearSolver>,
    tolerances: Option<Schedule>,
    least_tolerance: f64,
    warm: bool,
    /// The solution of the last call.
    q: Option<Vector>,
    calls: usize,
    stationarity: Stationarity,
}

impl Implicit {
    /// At the end of `lower`, a [`Descent`](crate::Descent) or a [minimiser](crate::minimise), by `solver` from q = 0.
    pub fn new(lower: impl Into<LowerSolve>, solver: impl LinearSolver + 'static) -> Self {
        let solver = Arc::new(solver);
        let stationarity = Stationarity::default();
        Self {
            lower: lower.into(),
            solver,
            tolerances: None,
            least_tolerance: 0.0,
            warm: false,
            q: None,
            calls: 0,
            stationarity,
        }
    }

    /// With the solver starting each time at the previous q, for one more product: fewer iterations where x moves
    /// little.
    pub fn with_warm_start(mut self) -> Self {
        self.warm = true;
        self
    }

    /// With a tolerance for each hypergradient, `e_k` for the k-th one that this value computes: the descent ends,
    /// before its T steps, by [`Descent::run_until`](crate::Descent::run_until) with `e_k`, and the solver at
    /// `norm(F_y - f_yy q) <= e_k norm(F_y)`, instead of its own tolerance. If `norm(f_y(x, y_T))` is above `e_k`
    /// nevertheless, the status is [`Status::LowerLimit`]: after T steps that do not reach the tolerance; and after
    /// fewer where the last step increased the norm, which is possible with a velocity but not for gradient descent on
    /// a convex f with `s <= 2 / L`, or where f alone is not descended.
    ///
    /// Coarse hypergradients suffice far from the optimum and cost less. HOAG's proof of convergence requires a finite
    /// sum of the `e_k`, as of `Schedule::geometric` and `Schedule::power(c, 2.0)`, smooth losses, a bounded set of x
    /// and upper steps that are short enough. Its `e_k` bound `norm(y - y*)` and `norm(F_y - f_yy q)`; here they bound
    /// `norm(f_y)`, which bounds the former where `f_yy >= mu > 0` (divide by mu), and the residual relative to
    /// `norm(F_y)`.
    ///
    /// # Errors
    /// If a tolerance is not finite and positive, or they increase.
    ///
    /// Source: F. Pedregosa, "Hyperparameter optimization with approximate gradient", 2016, Sec. 4, Alg. 1.
    pub fn with_tolerances(mut self, tolerances: impl Into<Schedule>) -> Result<Self, Error> {
        let tolerances = tolerances.into().positive("tolerance")?;
        let [first, second] = [0, 1].map(|k| tolerances.at(k));
        if second > first {
            return Err(Error::InvalidSetting {
                setting: "tolerances",
                found: tolerances.to_string(),
                expected: "a schedule that does not increase, such as one with a ratio in (0, 1)",
                cure: "`Schedule::geometric(0.1, 0.9)` is common; a plain number does not decrease",
            });
        }
        self.tolerances = Some(tolerances);
        Ok(self)
    }

    /// With `max(e_k, least)`: a tolerance that the element type can reach.
    ///
    /// # Errors
    /// If `least` is negative or not finite.
    pub fn with_least_tolerance(mut self, least: f64) -> Result<Self, Error> {
        self.least_tolerance = not_negative("least tolerance", least)?;
        Ok(self)
    }
}

impl HypergradientMethod for Implicit {
    fn name(&self) -> &'static str {
        self.solver.name()
    }

    fn describe(&self) -> String {
        let warm = if self.warm { ", warm q" } else { "" };
        let schedule = self.tolerances.map(|t| format!(", tolerances {t}")).unwrap_or_default();
        let (solver, lower) = (self.solver.describe(), self.lower.describe());
        format!("implicit({solver} after {lower}{warm}{schedule})")
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        self.lower.last_step()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        self.solver.check(Structure::Symmetric, start.layout().size())?;
        let tolerance = self.tolerances.map(|e| e.at(self.calls).max(self.least_tolerance));
        let SolvedLower {
            y: lower,
            loss: lower_loss,
            start_norm,
            climbed,
            tolerance: to,
            residual: ended,
        } = self.lower.solve(&problem, start, tolerance)?;
        // What depends only on y_T is computed once for all products.
        let (_, slope, curvature) = problem.slope_and_curvature(WeightedSum::LOWER, &lower);
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &lower, Wrt::Both);
        let (direct, rhs) = sides.into_both();
        let product = |v: &Vector, wrt| curvature.product(Direction::in_y(v), wrt);
        let hessian = |v: &Vector| product(v, Wrt::Y).into_y();
        let operator = Operator::symmetric(&hessian);
        let system = System::new(&operator, &rhs)
            .with_guess(self.q.as_ref().filter(|_| self.warm))
            .with_tolerance(tolerance);
        let solution = self.solver.solve(&system)?;
        let mixed = product(&solution.q, Wrt::X).into_x();
        let (solver, residual) = (solution.status, solution.residual);
        let size = direct.norm().max(mixed.norm());
        let rounding = system.epsilon().sqrt() * system.norm();
        let (rest, deviation) = match self.lower.last_step() {
            Some(step) => {
                let (at, slopes) = ((problem.x, &lower), (Some(&rhs), &slope));
                let last = LastStep::new(step, at, slopes);
                (last.optimality(), last.deviation(&problem, &solution.q, size))
            }
            // Without a set the residual is the norm of the gradient, up to rounding.
            None => {
                let all = slope.norm();
                let held = all - ended.unwrap_or(all);
                (None, if held > all / 2.0 + rounding { held / all } else { 0.0 })
            }
        };
        let stationarity = rest.as_ref().unwrap_or(&slope).norm();
        let relative = self.stationarity.relative(start_norm, stationarity, rounding);
        let status = match to {
            _ if solver.is_ok() && deviation > 0.0 => Status::Composite { stationarity, deviation },
            Some(tolerance) if solver.is_ok() && stationarity > tolerance => {
                Status::LowerLimit { stationarity, tolerance }
            }
            _ => {
                let relative = Some(relative).filter(|_| to.is_none());
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
            lower_loss,
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
