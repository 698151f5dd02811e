//! The derivatives of one step of any dynamics: its update, and one second-order product.

use bilevel_program::Vector;

use super::{Dynamics, State, Tangent, Update};
use crate::{Direction, LowerProblem, Partials, Wrt};

/// The adjoint of one step, for the variables requested of [`pull_back`].
#[derive(Clone, Debug)]
pub struct Pulled {
    /// `B_t' lambda`, if x was requested.
    pub x: Option<Vector>,
    /// `A_t' lambda`, if y was requested.
    pub state: Option<State>,
}

/// Takes the adjoint `lambda` of the state after step `t` back through the step.
///
/// With `state' = Psi(state; x)`, `A = dPsi/dstate` and `B = dPsi/dx` at `state`: `A' lambda` and
/// `B' lambda`. One product of each loss that the step descends, and its gradient where `U` is not
/// linear in it.
pub fn pull_back(
    problem: &LowerProblem<'_>,
    dynamics: &dyn Dynamics,
    t: usize,
    state: &State,
    lambda: State,
    wrt: Wrt,
) -> Pulled {
    let query = dynamics.query(t, state);
    let at_step = problem.at_step(dynamics, t);
    let objective = dynamics.objective(t);
    let product =
        |along: Direction<'_>, wrt: Wrt<'_>| at_step.curvature(objective, &query, along, wrt);
    pull_back_by(problem, dynamics, t, state, lambda, wrt, &product)
}

/// [`pull_back`] with the products of the Hessian where the step took its gradient.
pub(crate) fn pull_back_by(
    problem: &LowerProblem<'_>,
    dynamics: &dyn Dynamics,
    t: usize,
    state: &State,
    lambda: State,
    wrt: Wrt,
    product: &dyn Fn(Direction<'_>, Wrt<'_>) -> Partials,
) -> Pulled {
    let at_step = problem.at_step(dynamics, t);
    let slope = || at_step.slope(dynamics.objective(t), &dynamics.query(t, state)).1;
    let back = dynamics.adjoint(&Update::new(t, problem.x, state, &slope), lambda);
    let product = product(Direction::in_y(&back.gradient), wrt);
    let x = product.x.map(|mixed| match &back.x {
        Some(rates) => mixed.add(rates),
        None => mixed,
    });
    let state = product.y.map(|along_y| dynamics.query_adjoint(t, &along_y, back.state));
    Pulled { x, state }
}

/// Takes a tangent of the state before step `t`, and one of x, through the step:
/// `A_t tangent + B_t x`. One product of each loss that the step descends.
pub fn push_forward(
    problem: &LowerProblem<'_>,
    dynamics: &dyn Dynamics,
    t: usize,
    state: &State,
    tangent: &State,
    x: Option<&Vector>,
) -> State {
    let query = dynamics.query(t, state);
    let at_step = problem.at_step(dynamics, t);
    let objective = dynamics.objective(t);
    let product = |along: Direction<'_>| at_step.curvature(objective, &query, along, Wrt::Y);
    push_forward_by(problem, dynamics, t, state, tangent, x, &product)
}

/// [`push_forward`] with the products of the Hessian, in y, where the step took its gradient.
pub(crate) fn push_forward_by(
    problem: &LowerProblem<'_>,
    dynamics: &dyn Dynamics,
    t: usize,
    state: &State,
    tangent: &State,
    x: Option<&Vector>,
    product: &dyn Fn(Direction<'_>) -> Partials,
) -> State {
    let at_step = problem.at_step(dynamics, t);
    let slope = || at_step.slope(dynamics.objective(t), &dynamics.query(t, state)).1;
    let moved = dynamics.query(t, tangent);
    let gradient = product(Direction { x, y: Some(&moved) }).into_y();
    let along = Tangent { x, state: tangent, gradient: &gradient };
    dynamics.tangent(&Update::new(t, problem.x, state, &slope), along)
}

impl Pulled {
    /// The part in x.
    ///
    /// # Panics
    /// If it was not requested.
    pub fn into_x(self) -> Vector {
        self.x.expect("the adjoint of x was asked for")
    }

    /// The part in the state.
    ///
    /// # Panics
    /// If it was not requested.
    pub fn into_state(self) -> State {
        self.state.expect("the adjoint of the state was asked for")
    }
}
