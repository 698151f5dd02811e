//! Every tangent rule on the Flex backend in f64.

use burn::backend::{BackendTypes, BoolDType, set_default_dtypes};

#[path = "rules/mod.rs"]
mod rules;

type Inner = burn_flex::Flex;

const SUITE: rules::Suite = rules::DOUBLE;

/// Flex computes in the dtype of its tensors; this is the default for newly created ones.
fn set_up() -> bool {
    let device = <Inner as BackendTypes>::Device::default();
    set_default_dtypes::<Inner>(&device, SUITE.float, SUITE.int, BoolDType::Native)
        .expect("no tensor exists yet");
    true
}
