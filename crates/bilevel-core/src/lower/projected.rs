//! A proximal map after the steps of another dynamics.

use bilevel_program::{Layout, Vector};

use super::{Adjoint, Dynamics, State, Tangent, Update};
use crate::{Error, Objective, Proximal};

/// `projected`: `y' = P(D(y))` with any dynamics D and any proximal map P, as the projection onto a box, a
/// ball or a simplex.
///
/// The memory of D is left as it is, and `y_0` is not moved. The derivative of P is taken at `D(y)`; it
/// exists almost everywhere. A backward step costs one gradient of the lower objective more than that of D.
///
/// Source: [IAPTT-GM, Alg. 1](https://arxiv.org/abs/2110.00455); with [`SoftThreshold`] and
/// [`Gd`](crate::Gd) proximal gradient descent.
///
/// [`SoftThreshold`]: crate::SoftThreshold
#[derive(Clone, Debug, PartialEq)]
pub struct Projected<D, P> {
    inner: D,
    map: P,
}

impl<D, P> Projected<D, P> {
    /// `map` after every step of `inner`.
    pub fn new(inner: D, map: P) -> Self {
        Self { inner, map }
    }
}

impl<D: Dynamics, P: Proximal> Dynamics for Projected<D, P> {
    fn describe(&self) -> String {
        format!("projected({} onto {})", self.inner.describe(), self.map.describe())
    }

    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        self.inner.check(upper, lower)
    }

    fn objective(&self, t: usize) -> Objective {
        self.inner.objective(t)
    }

    // A start outside the set, or another convex term, may cost f something.
    fn lowers_f(&self) -> bool {
        false
    }

    fn start(&self, y: &Vector) -> State {
        self.inner.start(y)
    }

    fn start_adjoint(&self, adjoint: State) -> Vector {
        self.inner.start_adjoint(adjoint)
    }

    fn query(&self, t: usize, state: &State) -> Vector {
        self.inner.query(t, state)
    }

    fn query_adjoint(&self, t: usize, at_query: &Vector, adjoint: State) -> State {
        self.inner.query_adjoint(t, at_query, adjoint)
    }

    fn step(&self, at: &Update<'_>) -> State {
        let State { y, memory } = self.inner.step(at);
        State { y: self.map.apply(&y), memory }
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let State { y, memory } = self.inner.tangent(at, along);
        State { y: self.map.derivative(&self.inner.step(at).y, &y), memory }
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let y = self.map.derivative(&self.inner.step(at).y, &adjoint.y);
        self.inner.adjoint(at, State { y, memory: adjoint.memory })
    }
}
