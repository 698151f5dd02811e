//! Every tangent rule on the Flex backend in f64.

use burn::tensor::backend::BackendTypes;
use burn::tensor::{DType, set_default_dtypes};

#[path = "rules/mod.rs"]
mod rules;

type Inner = burn_flex::Flex;

const NDARRAY: bool = false;

/// Flex computes in the dtype of its tensors; this is the default for those made from nothing.
fn set_up() {
    let device = <Inner as BackendTypes>::Device::default();
    set_default_dtypes::<Inner>(&device, DType::F64, DType::I64).expect("no tensor exists yet");
}
