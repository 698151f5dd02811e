//! The properties on ndarray, in f64.

mod common;

use burn_ndarray::{NdArray, NdArrayDevice};

type B = NdArray<f64>;

fn device() -> NdArrayDevice {
    NdArrayDevice::default()
}

#[path = "common/check.rs"]
mod check;
#[path = "common/dynamics.rs"]
mod dynamics;
#[path = "common/explicit.rs"]
mod explicit;
#[path = "common/implicit.rs"]
mod implicit;
#[path = "common/properties.rs"]
mod properties;
