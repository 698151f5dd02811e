//! Burn's Flex backend, faster where second-order training spends its time.
//!
//! [`FastFlex`] has the tensors and the device of [`burn_flex::Flex`]: it computes what Flex computes, and
//! gives every operation to Flex that it has no better kernel for.

mod backend;
mod buffer;
mod conv;
mod elementwise;
mod functions;
mod gemm;
mod matmul;
mod numbers;
mod ops;
mod pool;

pub use backend::FastFlex;
pub use burn_flex::{FlexDevice, FlexTensor};
