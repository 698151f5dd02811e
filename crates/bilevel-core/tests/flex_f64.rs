//! The properties on flex, in f64.

mod common;

use std::sync::Once;

use burn::tensor::{FloatDType, IntDType, set_default_dtypes};
use burn_flex::{Flex, FlexDevice};

type B = Flex;

fn device() -> FlexDevice {
    // Burn fixes the element types of a device once a process.
    static F64: Once = Once::new();
    F64.call_once(|| {
        set_default_dtypes::<Flex>(&FlexDevice, FloatDType::F64, IntDType::I64).unwrap();
    });
    FlexDevice
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
#[path = "common/resume.rs"]
mod resume;
