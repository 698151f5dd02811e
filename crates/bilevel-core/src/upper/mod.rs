//! The step of the upper variable.

mod optimizer;

pub use optimizer::{BurnOptimizer, UpperStep};
