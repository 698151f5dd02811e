//! placeholder
mod data;
mod error;
pub mod hypergradient;
pub mod linear;
pub mod lower;
mod oracle;
pub mod problem;
mod run;
mod solver;
pub mod upper;

pub use data::*;
pub use error::Error;
pub use hypergradient::{Hypergradient, HypergradientMethod, Implicit, Rad, Samples, Status};
pub use linear::{Cg, LinearSolver, LinearStatus};
pub use lower::{Descent, Dynamics, Gd, Momentum};
pub use oracle::*;
pub use problem::{Bilevel, BilevelProblem, Level};
pub use run::*;
pub use solver::*;
pub use upper::{Ball, Bounds, BurnOptimizer, Projection, UpperStep};
