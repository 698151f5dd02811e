//! Solvers: what takes x and y from one upper step to the next.

mod hypergradient;
mod joint;

pub use hypergradient::{HypergradientSolver, Start};
pub use joint::JointSolver;

use bilevel_program::Vector;

use crate::constrained::Residual;
use crate::hypergradient::Status;
use crate::{Cost, Error, Projection, Snapshot};

/// What one upper step saw, at the x before it was moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// `F(x, y_T)`.
    pub upper_loss: f64,
    /// `f(x, y_T)`.
    pub lower_loss: f64,
    /// The norm of the hypergradient; of the directions of x and y together where both are moved at once.
    pub gradient_norm: f64,
    /// How far it can be trusted.
    pub status: Status,
}

/// An algorithm that moves x and y, one upper step at a time. The loop is [`Executor`](crate::Executor)'s.
pub trait Solver {
    /// Upper step `k`, counted from 0.
    ///
    /// # Errors
    /// If a level diverges.
    fn step(&mut self, k: usize) -> Result<Step, Error>;

    /// The upper variable.
    fn x(&self) -> &Vector;

    /// The lower variable: that of the last hypergradient, or as it was moved last.
    fn y(&self) -> &Vector;

    /// How far x and y, as the last step saw or left them, are from the conditions of a lower optimum and from the constraints
    /// of either level: asked where a run might end. Unknown, unless said otherwise.
    fn residual(&self) -> Residual {
        Residual::UNKNOWN
    }

    /// The oracle calls so far.
    fn cost(&self) -> Cost;

    /// All that later steps depend on, but for the settings, the data and the number of the next step.
    fn save(&self) -> Snapshot;

    /// Goes on where a solver of the same settings stood when it was saved: the steps that follow are the
    /// same bit by bit.
    ///
    /// # Errors
    /// If the state is that of another method, of other variables or of another element type. What was
    /// restored before the error stays: make the solver anew.
    fn restore(&mut self, from: Snapshot) -> Result<(), Error>;
}

pub(crate) fn project(onto: &Option<Box<dyn Projection>>, moved: Vector) -> Vector {
    match onto {
        Some(projection) => projection.apply(&moved),
        None => moved,
    }
}
