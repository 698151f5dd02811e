//! Every tangent rule on the NdArray backend in f64.

#![allow(deprecated, reason = "Burn will remove this backend; until then it is a second opinion")]

use burn::backend::{BackendTypes, BoolDType, set_default_dtypes};

#[path = "rules/mod.rs"]
mod rules;

type Inner = burn_ndarray::NdArray;

const SUITE: rules::Suite = rules::Suite { on: rules::On::NdArray, ..rules::DOUBLE };

fn set_up() -> bool {
    let device = <Inner as BackendTypes>::Device::default();
    set_default_dtypes::<Inner>(&device, SUITE.float, SUITE.int, BoolDType::Native)
        .expect("no tensor exists yet");
    true
}
