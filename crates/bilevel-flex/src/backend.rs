//! `FastFlex` as a Burn backend.

use burn::backend::ir::{BackendIr, HandleKind, TensorHandle};
use burn::backend::{
    Backend, BackendTypes, DType, DTypeUsageSet, ExecutionError, GraphUnsupported,
};
use burn_flex::{Flex, FlexDevice, FlexQTensor, FlexTensor};

/// [`Flex`] with faster kernels; see the [crate].
#[derive(Clone, Copy, Debug, Default)]
pub struct FastFlex;

impl BackendTypes for FastFlex {
    type Device = FlexDevice;
    type FloatTensorPrimitive = FlexTensor;
    type IntTensorPrimitive = FlexTensor;
    type BoolTensorPrimitive = FlexTensor;
    type QuantizedTensorPrimitive = FlexQTensor;
    type GraphPrimitive = GraphUnsupported;
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

    fn flush(device: &FlexDevice) -> Result<(), ExecutionError> {
        Flex::flush(device)
    }
}

/// The handles of Flex.
impl BackendIr for FastFlex {
    type Handle = HandleKind<Flex>;

    fn float_tensor(handle: TensorHandle<Self::Handle>) -> FlexTensor {
        Flex::float_tensor(handle)
    }

    fn int_tensor(handle: TensorHandle<Self::Handle>) -> FlexTensor {
        Flex::int_tensor(handle)
    }

    fn bool_tensor(handle: TensorHandle<Self::Handle>) -> FlexTensor {
        Flex::bool_tensor(handle)
    }

    fn quantized_tensor(handle: TensorHandle<Self::Handle>) -> FlexQTensor {
        Flex::quantized_tensor(handle)
    }

    fn float_tensor_handle(tensor: FlexTensor) -> Self::Handle {
        Flex::float_tensor_handle(tensor)
    }

    fn int_tensor_handle(tensor: FlexTensor) -> Self::Handle {
        Flex::int_tensor_handle(tensor)
    }

    fn bool_tensor_handle(tensor: FlexTensor) -> Self::Handle {
        Flex::bool_tensor_handle(tensor)
    }

    fn quantized_tensor_handle(tensor: FlexQTensor) -> Self::Handle {
        Flex::quantized_tensor_handle(tensor)
    }
}
