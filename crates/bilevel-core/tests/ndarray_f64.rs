//! The properties on ndarray, in f64.

#![expect(deprecated, reason = "the second backend that runs on any processor")]

mod common;

use std::sync::Once;

use burn::tensor::{Device, FloatDType, IntDType};

fn device() -> Device {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| Device::ndarray().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::ndarray()
}

#[path = "common/check.rs"]
mod check;
#[path = "common/dynamics.rs"]
mod dynamics;
#[path = "common/explicit.rs"]
mod explicit;
#[path = "common/finite.rs"]
mod finite;
#[path = "common/implicit.rs"]
mod implicit;
#[path = "common/properties.rs"]
mod properties;
