//! The reverse sweep that all explicit methods share.

use bilevel_program::Vector;

use super::{Hypergradient, Status};
use crate::lower::{Descent, Dynamics, Plan, State, pull_back, pull_back_by};
use crate::{Curvature, Direction, Error, Loss, LowerProblem, Objective, Wrt};

/// The result of a sweep.
pub(crate) struct Swept {
    /// `F` at the end of the descent, where the sweep begins.
    pub upper_loss: Loss,
    /// `F_x + sum_t B_t' lambda_{t+1}`.
    pub x: Vector,
    /// The adjoint of the y at which the swept steps start, if requested.
    pub start: Option<Vector>,
}

/// Back-propagates F from `end` through the steps that `states` gives, last first, each with its Hessian if that is
/// known.
///
/// One gradient of F, and one product of f per step.
pub(crate) fn reverse<'a>(
    problem: &LowerProblem<'a>,
    dynamics: &dyn Dynamics,
    end: &State,
    mut states: impl FnMut() -> Option<(usize, State, Option<Curvature<'a>>)>,
    start: bool,
) -> Swept {
    let (upper_loss, sides) = problem.gradient(Objective::Upper, &end.y, Wrt::Both);
    let (mut x, lambda) = sides.into_both();
    // F does not depend on the optimiser's memory: its adjoint starts at zero.
    let mut lambda = end.of_y(lambda);
    let mut next = states();
    while let Some((t, state, curvature)) = next {
        next = states();
        // The adjoint of the first state is needed only by a learned start.
        let wrt = Wrt::x_and(start || next.is_some());
        let pulled = match curvature {
            Some(curvature) => {
                let product = |along: Direction<'_>, wrt: Wrt<'_>| curvature.product(along, wrt);
                pull_back_by(problem, dynamics, t, &state, lambda.clone(), wrt, &product)
            }
            None => pull_back(problem, dynamics, t, &state, lambda.clone(), wrt),
        };
        if let Some(mixed) = &pulled.x {
            x = x.add(mixed);
        }
        if let Some(state) = pulled.state {
            lambda = state;
        }
    }
    Swept { upper_loss, x, start: start.then(|| dynamics.start_adjoint(lambda)) }
}

/// Descends from `start` and back-propagates F through the last `tail` steps: T gradients, `tail`
/// products and one value of f, one gradient of F.
pub(crate) fn unroll(
    problem: &LowerProblem<'_>,
    descent: &Descent,
    start: &Vector,
    plan: Plan,
    tail: usize,
    in_start: bool,
) -> Result<Hypergradient, Error> {
    let begin = (0, descent.begin(problem, start)?);
    unroll_from(problem, descent, begin, plan, tail, in_start, |_| ())
}

/// [`unroll`] from the state `from.1`, the first step being step `from.0`; `seen` gets the state after each step.
pub(crate) fn unroll_from(
    problem: &LowerProblem<'_>,
    descent: &Descent,
    from: (usize, State),
    plan: Plan,
    tail: usize,
    in_start: bool,
    seen: impl FnMut(&State),
) -> Result<Hypergradient, Error> {
    let (descended, mut tape) = descent.record_and_see(problem, from, plan, tail, seen)?;
    let whole = if tail < descent.steps() { Status::Approximate } else { Status::Exact };
    let status = Status::of_descent(&descended).unwrap_or(whole);
    let swept = reverse(
        problem,
        descent.dynamics(),
        &descended.state,
        || tape.pop_with_curvature(),
        in_start,
    );
    Ok(Hypergradient {
        gradient: swept.x,
        start: swept.start,
        lower: descended.state.y,
        upper_loss: swept.upper_loss,
        lower_loss: descended.end_loss,
        status,
    })
}
