//! `FastFlex` as a Burn backend.

use burn::tensor::DType;
use burn::tensor::backend::{Backend, BackendTypes, DTypeUsageSet};
use burn_flex::{Flex, FlexDevice, FlexQTensor, FlexTensor};

/// [`Flex`] with faster kernels; see the [crate](crate).
#[derive(Clone, Copy, Debug, Default)]
pub struct FastFlex;

impl BackendTypes for FastFlex {
    type Device = FlexDevice;
    type FloatTensorPrimitive = FlexTensor;
    type FloatElem = f32;
    type IntTensorPrimitive = FlexTensor;
    type IntElem = i32;
    type BoolTensorPrimitive = FlexTensor;
    type BoolElem = bool;
    type QuantizedTensorPrimitive = FlexQTensor;
}

impl Backend for FastFlex {
    fn name(_: &FlexDevice) -> String {
        "fast-flex".into()
    }

    fn seed(device: &FlexDevice, seed: u64) {
        Flex::seed(device, seed)
    }

    fn device_count(type_id: u16) -> usize {
        Flex::device_count(type_id)
    }

    fn dtype_usage(device: &FlexDevice, dtype: DType) -> DTypeUsageSet {
        Flex::dtype_usage(device, dtype)
    }
}
