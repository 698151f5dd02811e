//! placeholder
mod dual;
pub use dual::*;
