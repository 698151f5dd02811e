//! Gradient descent.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{Adjoint, Dynamics, State, Tangent, Update};
use crate::Error;
use crate::error::positive;

/// `gd`: `y' = y - s f_y(x, y)`.
///
/// Converges for `s < 2 / L` where L is the largest eigenvalue of `f_yy`.
///
/// Source: [survey, Eq. 16](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gd {
    step_size: f64,
}

impl Gd {
    /// With the step size `s`.
    ///
    /// # Errors
    /// If `s` is not finite and positive.
    pub fn new(step_size: f64) -> Result<Self, Error> {
        Ok(Self { step_size: positive("lower step size", step_size)? })
    }

    // U is linear: its own tangent.
    fn update<B: Backend>(&self, state: &State<B>, gradient: &Vector<B>) -> State<B> {
        State { y: state.y.axpy(-self.step_size, gradient), memory: Vec::new() }
    }
}

impl<B: Backend> Dynamics<B> for Gd {
    fn describe(&self) -> String {
        format!("gd(step size {})", self.step_size)
    }

    fn step(&self, at: &Update<'_, B>) -> State<B> {
        self.update(at.state, at.gradient())
    }

    fn tangent(&self, _: &Update<'_, B>, along: Tangent<'_, B>) -> State<B> {
        self.update(along.state, along.gradient)
    }

    fn adjoint(&self, _: &Update<'_, B>, adjoint: State<B>) -> Adjoint<B> {
        Adjoint { x: None, gradient: adjoint.y.scale(-self.step_size), state: adjoint }
    }
}
