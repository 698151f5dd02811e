//! Gradient descent.

use bilevel_program::Vector;

use super::{Adjoint, Coefficient, Dynamics, State, Tangent, Update};
use crate::Error;

/// `gd`: `y' = y - s f_y(x, y)`.
///
/// Converges for `s < 2 / L` where L is the largest eigenvalue of `f_yy`.
///
/// `T-Net` and `WarpGrad` are `gd` on a network with more layers: a linear map after each layer, or a layer
/// between two of them, whose weights belong to x and not to y. The step on y is then preconditioned by
/// those layers, and nothing else is needed.
///
/// Source: [survey, Eq. 16](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Debug, PartialEq)]
pub struct Gd {
    step_size: Coefficient,
}

impl Gd {
    /// With the step size `s`: a number, or a [`Coefficient`] that is learned.
    ///
    /// # Errors
    /// If a fixed `s` is not finite and positive.
    pub fn new(step_size: impl Into<Coefficient>) -> Result<Self, Error> {
        Ok(Self { step_size: step_size.into().positive("lower step size")? })
    }
}

impl Dynamics for Gd {
    fn describe(&self) -> String {
        format!("gd(step size {})", self.step_size)
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.step_size.check("lower step size", x.layout(), y.layout())
    }

    fn step(&self, at: &Update<'_>) -> State {
        let moved = self.step_size.times(at.now(), at.gradient());
        State { y: at.state.y.sub(&moved), memory: Vec::new() }
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let moved = self.step_size.tangent(at.now(), along.x, || at.gradient(), along.gradient);
        State { y: along.state.y.sub(&moved), memory: Vec::new() }
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let back: Vector = adjoint.y.scale(-1.0);
        Adjoint {
            x: self.step_size.adjoint(at.now(), || at.gradient(), &back),
            gradient: self.step_size.times(at.now(), &back),
            state: adjoint,
        }
    }
}
