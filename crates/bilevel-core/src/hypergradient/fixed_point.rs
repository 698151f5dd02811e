//! Hypergradients at a fixed point of the lower steps.

use std::sync::Arc;

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Stationarity, Status};
use crate::linear::{Best, Limits, LinearStatus, epsilon};
use crate::lower::{
    Descent, LowerSolve, SolvedLower, State, Stepped, Update, pull_back, pull_back_by, step,
};
use crate::minimise::Minimiser;
use crate::{Direction, Dynamics, Error, LowerProblem, Objective, Snapshot, Wrt};

/// `fixed-point`: implicit differentiation of `y = Phi(x, y)`, Phi the last step of a descent.
///
/// ```text
/// y_T by T lower steps,  lambda = F_y,  k times: lambda = Phi_y' lambda + F_y
/// g = F_x + Phi_x' lambda
/// ```
///
/// Phi is any contraction, also a projected or a proximal step: no second derivative of f is inverted,
/// and f_y need not vanish where a constraint holds y. The memory of a dynamics, as a velocity, is part
/// of the fixed point and of lambda. A [minimiser](crate::minimise) can find the point in place of the T steps
/// ([`FixedPoint::minimised`]).
///
/// Memory does not grow with T or k. Cost: T + 1 gradients and one value of f, one gradient of F, k + 1
/// products of f; and a gradient a product where the step is not linear in it.
///
/// Requires: `y_T = Phi(x, y_T)` nearly, and eigenvalues of `Phi_y` inside the unit circle; otherwise it
/// ends with [`LinearStatus::Diverged`]. The error is of the order of `norm(y_T - y*)` and of the
/// residual `norm(Phi_y' lambda + F_y - lambda) / norm(F_y)`, which is the true one.
///
/// Source: R. Grazzi et al., "On the iteration complexity of hypergradient computation", 2020;
/// Q. Bertrand et al., "Implicit differentiation of Lasso-type models", 2020.
#[derive(Clone, Debug)]
pub struct FixedPoint {
    lower: Lower,
    limits: Limits,
    stationarity: Stationarity,
}

/// Phi, and how its fixed point is found.
#[derive(Clone, Debug)]
enum Lower {
    /// By steps, the last of which is Phi.
    Steps(Descent),
    /// By a minimiser. Phi is the first step of the dynamics.
    Minimised(Arc<dyn Minimiser>, Arc<dyn Dynamics>),
}

impl FixedPoint {
    /// At the end of `descent`, by at most `iterations` products for lambda, until the relative residual
    /// is at most `tolerance`. The last product tells the residual alone: a limit of k moves lambda
    /// `k - 1` times.
    ///
    /// # Errors
    /// If `iterations` is 0 or `tolerance` not finite and positive.
    pub fn new(descent: Descent, iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Self::of(Lower::Steps(descent), iterations, tolerance)
    }

    /// With y found by a minimiser, to its own tolerance and without a step size, in place of T steps; Phi is the first step
    /// of `dynamics`. Where Phi projects, the minimiser is to keep y in the same set: `Fista::onto`, `Armijo::onto`. The
    /// status is [`Status::NotFixedPoint`] where Phi moves that point by more than the minimiser's residual explains, since
    /// the two solve different problems, and [`Status::LowerLimit`] where the minimiser misses its tolerance. Costs one
    /// gradient more.
    ///
    /// # Errors
    /// As [`FixedPoint::new`].
    pub fn minimised(
        minimiser: impl Minimiser + 'static,
        dynamics: impl Dynamics + 'static,
        iterations: usize,
        tolerance: f64,
    ) -> Result<Self, Error> {
        let lower = Lower::Minimised(Arc::new(minimiser), Arc::new(dynamics));
        Self::of(lower, iterations, tolerance)
    }

    fn of(lower: Lower, iterations: usize, tolerance: f64) -> Result<Self, Error> {
        let limits = Limits::new(iterations, tolerance)?;
        Ok(Self { lower, limits, stationarity: Stationarity::default() })
    }

    /// The dynamics one of whose steps is Phi.
    fn map(&self) -> &dyn Dynamics {
        match &self.lower {
            Lower::Steps(descent) => descent.dynamics(),
            Lower::Minimised(_, dynamics) => dynamics.as_ref(),
        }
    }

    /// The length of a step of Phi. After a minimiser of y alone: its memory, as a velocity at a bound, starts from 0.
    fn moved(&self, from: &State, to: &State) -> f64 {
        match &self.lower {
            Lower::Steps(_) => norm(&combine(to, from, Vector::sub)),
            Lower::Minimised(..) => to.y.sub(&from.y).norm(),
        }
    }

    /// The lower level from `start`.
    fn solve(&self, problem: &LowerProblem<'_>, start: &Vector) -> Result<Solved, Error> {
        match &self.lower {
            Lower::Steps(descent) => {
                let mut first = None;
                let see = |before: &State, stepped: &Stepped| {
                    first = Some((before.clone(), stepped.state.clone()));
                };
                let descended = descent.watch(problem, start, None, see)?;
                // Phi is the last step that was made: dynamics need not know of a later one.
                let (t, failure) = (descended.steps - 1, Status::of_descent(&descended));
                let first_move = first.map_or(0.0, |(from, to)| self.moved(&from, &to));
                let (state, loss) = (descended.state, descended.end_loss);
                Ok(Solved { t, state, loss, first_move, failure, residual: None })
            }
            Lower::Minimised(minimiser, dynamics) => {
                dynamics.check(problem.x, start)?;
                let state = dynamics.start(start);
                let stepped = step(problem, dynamics.as_ref(), 0, &state);
                let first_move = self.moved(&state, &stepped.state);
                let lower = LowerSolve::Minimised(minimiser.clone());
                let SolvedLower { y, loss, tolerance, residual, .. } =
                    lower.solve(problem, start, None)?;
                let missed = residual.zip(tolerance).filter(|(residual, most)| residual > most);
                let failure = missed.map(|(stationarity, tolerance)| Status::LowerLimit {
                    stationarity,
                    tolerance,
                });
                let state = dynamics.start(&y);
                Ok(Solved { t: 0, state, loss, first_move, failure, residual })
            }
        }
    }

    /// lambda, why it ended, and its residual.
    fn adjoint(
        &self,
        problem: &LowerProblem<'_>,
        end: (usize, &State),
        slope: State,
    ) -> (State, LinearStatus, f64) {
        let norm = norm(&slope);
        if norm == 0.0 {
            return (slope, LinearStatus::Converged, 0.0);
        }
        let dynamics = self.map();
        let mut lambda = slope.clone();
        let mut best = None;
        let mut k = 0;
        let (t, state) = end;
        // What depends on the point alone is computed once for all products.
        let query = dynamics.query(t, state);
        let at_step = problem.at_step(dynamics, t);
        let curvature = at_step.curvature_at(dynamics.objective(t), &query, Wrt::Y, Wrt::Y);
        let product = |along: Direction<'_>, wrt: Wrt<'_>| curvature.product(along, wrt);
        loop {
            let pulled =
                pull_back_by(problem, dynamics, t, state, lambda.clone(), Wrt::Y, &product);
            k += 1;
            let next = combine(&pulled.into_state(), &slope, Vector::add);
            let residual = self::norm(&combine(&next, &lambda, Vector::sub)) / norm;
            let best = best.get_or_insert_with(|| Best::new(&lambda, residual));
            let status = match best.see(&lambda, residual) {
                true => Some(LinearStatus::Diverged),
                false => self.limits.end(k, residual),
            };
            if let Some(status) = status {
                let (lambda, residual) = best.clone().into_parts();
                return (lambda, status, residual);
            }
            lambda = next;
        }
    }
}

/// The point where Phi is differentiated.
struct Solved {
    /// The step that is Phi.
    t: usize,
    state: State,
    /// f there.
    loss: f64,
    /// The length of the first step.
    first_move: f64,
    /// The status if y was not found as it should be.
    failure: Option<Status>,
    /// The norm at which a minimiser ended: of `f_y`, or of `y - P(y - f_y)` in a set.
    residual: Option<f64>,
}

/// The status where a map moves y, `from` to `to`, by more than the residual r of the minimiser explains. A step of
/// length s on the same problem moves it by at most `max(1, s) r`, projected or not; the factor allows for steps whose
/// entries have different lengths. s is measured at y by a gradient of the norm r along the move, since what clips long
/// gradients does not clip that; a set may block one of its two directions.
fn mismatch(
    dynamics: &dyn Dynamics,
    x: &Vector,
    (from, to): (&State, &Vector),
    residual: f64,
) -> Option<Status> {
    let way = to.sub(&from.y);
    let moved = way.norm();
    // A step rounds y.
    if moved <= 4.0 * epsilon(from.y.layout()) * norm(from) {
        return None;
    }
    let stepped = |scale: f64| {
        let given = || way.scale(scale * residual / moved);
        dynamics.step(&Update::new(0, x, from, &given)).y
    };
    let still = stepped(0.0);
    let [one, other] = [1.0, -1.0].map(|sign| stepped(sign).sub(&still).norm());
    let explained = 10.0 * one.max(other).max(residual);
    (moved > explained).then_some(Status::NotFixedPoint { moved, residual })
}

impl HypergradientMethod for FixedPoint {
    fn name(&self) -> &'static str {
        "fixed-point"
    }

    fn describe(&self) -> String {
        let limits = &self.limits;
        match &self.lower {
            Lower::Steps(descent) => format!("fixed-point({limits} after {})", descent.describe()),
            Lower::Minimised(minimiser, dynamics) => {
                let (step, minimiser) = (dynamics.describe(), minimiser.describe());
                format!("fixed-point({limits} of {step} after {minimiser})")
            }
        }
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        let t = match &self.lower {
            Lower::Steps(descent) => descent.last_step().0,
            Lower::Minimised(..) => 0,
        };
        Some((t, self.map()))
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let Solved { t, state, loss, first_move, failure, residual: ended } =
            self.solve(&problem, start)?;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &state.y, Wrt::Both);
        let (direct, slope) = sides.into_both();
        let (lambda, solver, residual) = self.adjoint(&problem, (t, &state), state.of_y(slope));
        let dynamics = self.map();
        let mixed = pull_back(&problem, dynamics, t, &state, lambda, Wrt::X).into_x();
        let moved = step(&problem, dynamics, t, &state).state;
        let mismatch =
            ended.and_then(|ended| mismatch(dynamics, problem.x, (&state, &moved.y), ended));
        let stationarity = self.moved(&state, &moved);
        let rounding = epsilon(state.y.layout()).sqrt() * norm(&state);
        let relative = Some(self.stationarity.relative(first_move, stationarity, rounding));
        let residual = Some(residual);
        let status = Status::Implicit { solver, residual, stationarity, relative };
        let status = status.after(mismatch.or(failure));
        Ok(Hypergradient {
            gradient: direct.add(&mixed),
            start: None,
            lower: state.y,
            upper_loss,
            lower_loss: loss,
            status,
        })
    }

    fn save(&self, to: &mut Snapshot) {
        self.stationarity.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Vector, _: &Vector) -> Result<(), Error> {
        self.stationarity = Stationarity::restore(from)?;
        Ok(())
    }
}

fn combine(a: &State, b: &State, f: impl Fn(&Vector, &Vector) -> Vector) -> State {
    let memory = a.memory.iter().zip(&b.memory).map(|(a, b)| f(a, b)).collect();
    State { y: f(&a.y, &b.y), memory }
}

fn norm(state: &State) -> f64 {
    let squares = state.memory.iter().chain([&state.y]).map(|v| v.dot(v));
    squares.sum::<f64>().sqrt()
}
