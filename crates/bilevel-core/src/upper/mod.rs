//! The step of the upper variable.

mod adaptive;
mod gradient;
mod memory;
mod optimizer;

pub use adaptive::AdaptiveStep;
pub use gradient::GradientStep;
pub use memory::OptimizerMemory;
pub use optimizer::{BurnOptimizer, UpperStep};
