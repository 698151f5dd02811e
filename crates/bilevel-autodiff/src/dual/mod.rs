//! `Dual<B>`: the forward-mode backend decorator. One file of [`ops`] per family of operations.

mod backend;
mod ops;
mod tensor;

pub use backend::{Dual, NoGradients};
pub use tensor::DualTensor;
pub(crate) use tensor::zeros_like;
