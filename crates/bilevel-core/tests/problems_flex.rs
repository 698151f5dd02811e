//! The methods on problems with known solutions, on flex in f64.

use std::sync::Once;

use burn::tensor::{Device, FloatDType, IntDType};

fn device() -> Device {
    // Burn fixes the element types of a device once per process.
    static F64: Once = Once::new();
    F64.call_once(|| Device::flex().configure((FloatDType::F64, IntDType::I64)).unwrap());
    Device::flex()
}

#[path = "problems/common.rs"]
mod common;
#[path = "problems/joint.rs"]
mod joint;
#[path = "problems/proxy.rs"]
mod proxy;
#[path = "problems/resume.rs"]
mod resume;
#[path = "problems/solver.rs"]
mod solver;
#[path = "problems/split.rs"]
mod split;
#[path = "problems/stochastic.rs"]
mod stochastic;
#[path = "problems/suggest.rs"]
mod suggest;
