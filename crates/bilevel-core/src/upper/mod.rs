//! The step of the upper variable.

mod gradient;
mod optimizer;

pub use gradient::GradientStep;
pub use optimizer::{BurnOptimizer, UpperStep};
