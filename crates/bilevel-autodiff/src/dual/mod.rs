//! `Dual<B>`: the forward-mode backend decorator. One file of [`ops`] per family of operations.

mod backend;
mod ops;
mod tensor;

pub use backend::Dual;
pub use tensor::DualTensor;
