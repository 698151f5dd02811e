//! A dynamics behind a pointer, as a registry of names gives it.

use bilevel_program::{Layout, Vector};
use burn::tensor::Tensor;

use super::{Adjoint, Dynamics, State, Tangent, Update};
use crate::{Error, Objective};

impl<D: Dynamics + ?Sized> Dynamics for Box<D> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    fn check(&self, upper: &Layout, lower: &Layout) -> Result<(), Error> {
        (**self).check(upper, lower)
    }

    fn objective(&self, t: usize) -> Objective {
        (**self).objective(t)
    }

    fn lowers_f(&self) -> bool {
        (**self).lowers_f()
    }

    fn start(&self, y: &Vector) -> State {
        (**self).start(y)
    }

    fn start_adjoint(&self, adjoint: State) -> Vector {
        (**self).start_adjoint(adjoint)
    }

    fn query(&self, t: usize, state: &State) -> Vector {
        (**self).query(t, state)
    }

    fn query_adjoint(&self, t: usize, at_query: &Vector, adjoint: State) -> State {
        (**self).query_adjoint(t, at_query, adjoint)
    }

    fn at_rest(&self, t: usize, state: &State) -> Option<Tensor<1>> {
        (**self).at_rest(t, state)
    }

    fn step(&self, at: &Update<'_>) -> State {
        (**self).step(at)
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        (**self).tangent(at, along)
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        (**self).adjoint(at, adjoint)
    }
}
