//! Quantised operations, transactions and collective operations.

use burn::backend::ExecutionError;
use burn::backend::distributed::DistributedOps;
use burn::backend::ops::{QTensorOps, TransactionOps};
use burn::backend::quantization::{QuantScheme, QuantizationParametersPrimitive};
use burn::backend::{FloatDType, IntDType, Shape, Slice, TensorData};
use burn_flex::{Flex, FlexDevice};

use super::{Q, T};
use crate::FastFlex;

impl TransactionOps<Self> for FastFlex {}

// None are supported, as in Flex.
impl DistributedOps<Self> for FastFlex {}

impl QTensorOps<Self> for FastFlex {
    fn quantize(
        tensor: T,
        scheme: &QuantScheme,
        qparams: QuantizationParametersPrimitive<Self>,
    ) -> Q {
        let QuantizationParametersPrimitive { scales, global } = qparams;
        Flex::quantize(tensor, scheme, QuantizationParametersPrimitive { scales, global })
    }

    forward! {
        fn q_from_data(data: TensorData, device: &FlexDevice) -> Q;
        fn quantize_dynamic(tensor: T, scheme: &QuantScheme) -> Q;
        fn dequantize(tensor: Q, dtype: FloatDType) -> T;
        fn q_to_device(tensor: Q, device: &FlexDevice) -> Q;
        fn q_reshape(tensor: Q, shape: Shape) -> Q;
        fn q_into_data(
            tensor: Q,
        ) -> impl Future<Output = Result<TensorData, ExecutionError>> + Send;
        fn q_swap_dims(tensor: Q, dim1: usize, dim2: usize) -> Q;
        fn q_permute(tensor: Q, axes: &[usize]) -> Q;
        fn q_flip(tensor: Q, axes: &[usize]) -> Q;
        fn q_expand(tensor: Q, shape: Shape) -> Q;
        fn q_select(tensor: Q, dim: usize, indices: T) -> Q;
        fn q_slice(tensor: Q, slices: &[Slice]) -> Q;
        fn q_argmax(tensor: Q, dim: usize, out_dtype: IntDType) -> T;
        fn q_argmin(tensor: Q, dim: usize, out_dtype: IntDType) -> T;
        fn q_gather(dim: usize, tensor: Q, indices: T) -> Q;
    }
}
