#![doc = "placeholder"]
mod dual;
mod lift;
mod operators;
mod vector;

pub use dual::*;
pub use lift::*;
pub use operators::*;
pub use vector::{Layout, Leaf, Vector};
