//! The step of the upper variable.

mod gradient;
mod memory;
mod optimizer;

pub use gradient::GradientStep;
pub use memory::OptimizerMemory;
pub use optimizer::{BurnOptimizer, UpperStep};
