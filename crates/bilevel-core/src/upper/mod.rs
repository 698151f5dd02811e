//! The step of the upper variable.

mod optimizer;
mod projection;

pub use optimizer::{BurnOptimizer, UpperStep};
pub use projection::{Ball, Bounds, Projection};
