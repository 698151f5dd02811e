//! The step of the upper variable.

mod gradient;
mod optimizer;
mod projection;

pub use gradient::GradientStep;
pub use optimizer::{BurnOptimizer, UpperStep};
pub use projection::{Ball, Bounds, Projection};
