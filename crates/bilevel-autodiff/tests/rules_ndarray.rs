//! Every tangent rule on the NdArray backend in f64.

#[path = "rules/mod.rs"]
mod rules;

type Inner = burn_ndarray::NdArray<f64>;

const NDARRAY: bool = true;

fn set_up() {}
