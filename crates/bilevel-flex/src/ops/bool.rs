//! Boolean operations.

use burn::backend::ExecutionError;
use burn::backend::ops::BoolTensorOps;
use burn::backend::{BoolDType, FloatDType, IntDType, Scalar, Shape, Slice, TensorData};
use burn_flex::FlexDevice;

use super::T;
use crate::FastFlex;

impl BoolTensorOps<Self> for FastFlex {
    forward! {
        fn bool_from_data(data: TensorData, device: &FlexDevice) -> T;
        fn bool_into_data(
            tensor: T,
        ) -> impl Future<Output = Result<TensorData, ExecutionError>> + Send;
        fn bool_to_device(tensor: T, device: &FlexDevice) -> T;
        fn bool_cat(tensors: Vec<T>, dim: usize) -> T;
        fn bool_reshape(tensor: T, shape: Shape) -> T;
        fn bool_slice(tensor: T, slices: &[Slice]) -> T;
        fn bool_empty(shape: Shape, device: &FlexDevice, dtype: BoolDType) -> T;
        fn bool_slice_assign(tensor: T, slices: &[Slice], value: T) -> T;
        fn bool_into_int(tensor: T, out_dtype: IntDType) -> T;
        fn bool_into_float(tensor: T, out_dtype: FloatDType) -> T;
        fn bool_swap_dims(tensor: T, dim1: usize, dim2: usize) -> T;
        fn bool_permute(tensor: T, axes: &[usize]) -> T;
        fn bool_flip(tensor: T, axes: &[usize]) -> T;
        fn bool_equal(lhs: T, rhs: T) -> T;
        fn bool_not(tensor: T) -> T;
        fn bool_and(lhs: T, rhs: T) -> T;
        fn bool_or(lhs: T, rhs: T) -> T;
        fn bool_xor(lhs: T, rhs: T) -> T;
        fn bool_expand(tensor: T, shape: Shape) -> T;
        fn bool_zeros(shape: Shape, device: &FlexDevice, dtype: BoolDType) -> T;
        fn bool_ones(shape: Shape, device: &FlexDevice, dtype: BoolDType) -> T;
        fn bool_mask_where(tensor: T, mask: T, value: T) -> T;
        fn bool_mask_fill(tensor: T, mask: T, value: Scalar) -> T;
        fn bool_gather(dim: usize, tensor: T, indices: T) -> T;
        fn bool_scatter_or(dim: usize, tensor: T, indices: T, value: T) -> T;
        fn bool_equal_elem(lhs: T, rhs: Scalar) -> T;
        fn bool_unfold(tensor: T, dim: usize, size: usize, step: usize) -> T;
        fn bool_not_equal(lhs: T, rhs: T) -> T;
        fn bool_not_equal_elem(lhs: T, rhs: Scalar) -> T;
        fn bool_any(tensor: T) -> T;
        fn bool_any_dim(tensor: T, dim: usize) -> T;
        fn bool_all(tensor: T) -> T;
        fn bool_all_dim(tensor: T, dim: usize) -> T;
        fn bool_select(tensor: T, dim: usize, indices: T) -> T;
        fn bool_select_or(tensor: T, dim: usize, indices: T, value: T) -> T;
        fn bool_transpose(tensor: T) -> T;
        fn bool_repeat_dim(tensor: T, dim: usize, times: usize) -> T;
        fn bool_argwhere(tensor: T, out_dtype: IntDType) -> impl Future<Output = T> + Send;
    }
}
