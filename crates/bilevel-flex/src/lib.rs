//! Burn's Flex backend, made faster for second-order training.
//!
//! [`FastFlex`] uses the tensors and the device of [`burn_flex::Flex`]. It computes the same as Flex, and
//! forwards every operation to Flex for which it has no faster kernel. Sums are taken in another order, and 3 x 3 convolutions in
//! f32 by tiles whose positions share rounding errors, as those of cuDNN may; f64 is always summed directly.

mod backend;
mod buffer;
mod conv;
mod elementwise;
mod functions;
pub mod fused;
mod gemm;
mod matmul;
mod numbers;
mod ops;
mod pool;
pub mod slices;
pub mod vectors;

pub use backend::FastFlex;
pub use burn_flex::{FlexDevice, FlexTensor};
