//! Lower-level dynamics: `y_{t+1} = Psi_t(y_t; x)`.
//!
//! A step of a first-order optimiser is `state' = U(state, g)` with `g = f_y(x, y)` and a cheap
//! elementwise `U`. A dynamics gives `U` and the adjoint of `U`; the second-order product that carries
//! the adjoint of `g` back to x and y is the caller's. So a new optimiser is one small file.

mod descent;
mod gd;
mod momentum;

pub use descent::{Descended, Descent, Keep};
pub use gd::Gd;
pub use momentum::Momentum;

use std::fmt::Debug;

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

/// What a dynamics carries from step to step.
#[derive(Clone, Debug)]
pub struct State<B: Backend> {
    /// The lower variable.
    pub y: Vector<B>,
    /// The optimiser's own memory, as velocities; empty for plain descent.
    pub memory: Vec<Vector<B>>,
}

/// The adjoint of one update `state' = U(state, g)`.
#[derive(Clone, Debug)]
pub struct Adjoint<B: Backend> {
    /// `(dU/dstate)' lambda'`.
    pub state: State<B>,
    /// `(dU/dg)' lambda'`: the direction of the second-order product.
    pub gradient: Vector<B>,
}

/// A first-order optimiser of the lower level, as a differentiable map.
pub trait Dynamics<B: Backend>: Debug + Send + Sync {
    /// The name with the settings, as `gd(step 0.1)`.
    fn describe(&self) -> String;

    /// The state that starts at `y`.
    fn start(&self, y: &Vector<B>) -> State<B>;

    /// `U`: step `t`, counted from 0, with the gradient `f_y` at `state.y`.
    fn step(&self, t: usize, state: &State<B>, gradient: &Vector<B>) -> State<B>;

    /// The adjoint of step `t` at `state`: takes the adjoint of the result to those of the arguments.
    ///
    /// `gradient` gives `f_y` at `state.y` again, for updates that are not linear in it.
    fn adjoint(
        &self,
        t: usize,
        state: &State<B>,
        gradient: &mut dyn FnMut() -> Vector<B>,
        adjoint: State<B>,
    ) -> Adjoint<B>;
}
