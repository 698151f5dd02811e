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

/// Whether this processor has instructions for multiply-adds, which round once: `gemm` uses them where they exist.
pub fn has_multiply_add() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::is_x86_feature_detected!("fma");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    return cfg!(target_arch = "aarch64");
}
