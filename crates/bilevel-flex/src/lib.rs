//! Burn's Flex backend, made faster for second-order training.
//!
//! [`FastFlex`] uses the tensors and the device of [`burn_flex::Flex`]. It computes what Flex computes, up to
//! rounding, and forwards every operation to Flex for which it has no faster kernel. Sums are taken in another
//! order. In f32, convolutions with kernels of 3 x 3 use Winograd's algorithm, whose errors are relative to the
//! largest of 4 x 4 pixels; f64 is always summed directly.

mod backend;
mod buffer;
mod conv;
mod elementwise;
mod functions;
pub mod fused;
mod gather;
mod gemm;
mod matmul;
mod numbers;
mod ops;
mod pool;
pub mod slices;
mod tall;
pub mod vectors;

pub use backend::FastFlex;
pub use burn_flex::{FlexDevice, FlexTensor};
