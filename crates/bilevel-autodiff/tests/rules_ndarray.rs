//! Every tangent rule on the NdArray backend in f64.

#[path = "rules/mod.rs"]
mod rules;

type Inner = burn_ndarray::NdArray<f64>;

const SUITE: rules::Suite = rules::Suite { on: rules::On::NdArray, ..rules::DOUBLE };

fn set_up() -> bool {
    true
}
