//! A dynamics behind a pointer, as a registry of names gives it.

use bilevel_autodiff::{Layout, Vector};
use burn::tensor::backend::Backend;

use super::{Adjoint, Dynamics, State, Tangent, Update};
use crate::{Error, Objective};

impl<B: Backend, D: Dynamics<B> + ?Sized> Dynamics<B> for Box<D> {
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

    fn start(&self, y: &Vector<B>) -> State<B> {
        (**self).start(y)
    }

    fn start_adjoint(&self, adjoint: State<B>) -> Vector<B> {
        (**self).start_adjoint(adjoint)
    }

    fn query(&self, t: usize, state: &State<B>) -> Vector<B> {
        (**self).query(t, state)
    }

    fn query_adjoint(&self, t: usize, at_query: &Vector<B>, adjoint: State<B>) -> State<B> {
        (**self).query_adjoint(t, at_query, adjoint)
    }

    fn step(&self, at: &Update<'_, B>) -> State<B> {
        (**self).step(at)
    }

    fn tangent(&self, at: &Update<'_, B>, along: Tangent<'_, B>) -> State<B> {
        (**self).tangent(at, along)
    }

    fn adjoint(&self, at: &Update<'_, B>, adjoint: State<B>) -> Adjoint<B> {
        (**self).adjoint(at, adjoint)
    }
}
