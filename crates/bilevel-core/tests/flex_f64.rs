//! The properties on flex, in f64.

mod common;

use std::sync::Once;

use burn::tensor::{Device, FloatDType, IntDType};

fn device() -> Device {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

#[path = "common/catalogue.rs"]
mod catalogue;
#[path = "common/check.rs"]
mod check;
#[path = "common/dynamics.rs"]
mod dynamics;
#[path = "common/ends.rs"]
mod ends;
#[path = "common/explicit.rs"]
mod explicit;
#[path = "common/features.rs"]
mod features;
#[path = "common/finite.rs"]
mod finite;
#[path = "common/implicit.rs"]
mod implicit;
#[path = "common/kkt.rs"]
mod kkt;
#[path = "common/minimise.rs"]
mod minimise;
#[path = "common/parallel.rs"]
mod parallel;
#[path = "common/properties.rs"]
mod properties;
#[path = "common/repeated.rs"]
mod repeated;
#[path = "common/resume.rs"]
mod resume;
#[path = "common/sampled.rs"]
mod sampled;
#[path = "common/tasks.rs"]
mod tasks;
#[path = "common/threads.rs"]
mod threads;
