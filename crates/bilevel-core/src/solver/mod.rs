//! Solvers, which move x and y from one upper step to the next.

mod hypergradient;
mod joint;

pub use hypergradient::{HypergradientSolver, Start};
pub use joint::JointSolver;

use bilevel_program::Vector;

use crate::constrained::Residual;
use crate::hypergradient::Status;
use crate::{Cost, Error, Projection, Snapshot};

/// What one upper step saw, at x before the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// `F(x, y_T)`.
    pub upper_loss: f64,
    /// `f(x, y_T)`.
    pub lower_loss: f64,
    /// The norm of the hypergradient; of the directions of x and y together if both move at once.
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
    fn step(&mut self, k: usize) -> Result<Observation, Error>;

    /// The upper variable.
    fn x(&self) -> &Vector;

    /// The lower variable of the last hypergradient, or after its last step.
    fn y(&self) -> &Vector;

    /// How far x and y, at or after the last step, are from the optimality conditions of the lower level and from the
    /// constraints of either level: requested where a run might end. Unknown by default.
    fn residual(&self) -> Residual {
        Residual::UNKNOWN
    }

    /// The oracle calls so far.
    fn cost(&self) -> Cost;

    /// All that later steps depend on, except for the settings, the data and the number of the next step.
    fn save(&self) -> Snapshot;

    /// Continues from a saved state of a solver with the same settings: the following steps are the same bit for bit.
    ///
    /// # Errors
    /// If the state is that of another method, of other variables or of another element type. What was restored before
    /// the error remains: make a new solver.
    fn restore(&mut self, from: Snapshot) -> Result<(), Error>;
}

pub(crate) fn project(onto: &Option<Box<dyn Projection>>, moved: Vector) -> Vector {
    match onto {
        Some(projection) => projection.apply(&moved),
        None => moved,
    }
}
