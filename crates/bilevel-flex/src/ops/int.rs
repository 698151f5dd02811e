//! Integer operations.

use burn::backend::ExecutionError;
use burn::backend::ops::IntTensorOps;
use burn::backend::tensor::IndexingUpdateOp;
use burn::backend::{
    BoolDType, Distribution, FloatDType, IntDType, Scalar, Shape, Slice, TensorData,
};
use burn_flex::FlexDevice;

use super::T;
use crate::FastFlex;

impl IntTensorOps<Self> for FastFlex {
    forward! {
        fn int_from_data(data: TensorData, device: &FlexDevice) -> T;
        fn int_into_data(
            tensor: T,
        ) -> impl Future<Output = Result<TensorData, ExecutionError>> + Send;
        fn int_to_device(tensor: T, device: &FlexDevice) -> T;
        fn int_cat(tensors: Vec<T>, dim: usize) -> T;
        fn int_reshape(tensor: T, shape: Shape) -> T;
        fn int_slice(tensor: T, slices: &[Slice]) -> T;
        fn int_empty(shape: Shape, device: &FlexDevice, dtype: IntDType) -> T;
        fn int_mask_where(tensor: T, mask: T, value: T) -> T;
        fn int_mask_fill(tensor: T, mask: T, value: Scalar) -> T;
        fn int_slice_assign(tensor: T, slices: &[Slice], value: T) -> T;
        fn int_gather(dim: usize, tensor: T, indices: T) -> T;
        fn int_scatter(
            dim: usize, tensor: T, indices: T, value: T, update: IndexingUpdateOp,
        ) -> T;
        fn int_scatter_nd(data: T, indices: T, values: T, reduction: IndexingUpdateOp) -> T;
        fn int_gather_nd(data: T, indices: T) -> T;
        fn int_select(tensor: T, dim: usize, indices: T) -> T;
        fn int_select_assign(
            tensor: T, dim: usize, indices: T, value: T, update: IndexingUpdateOp,
        ) -> T;
        fn int_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn int_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn int_greater(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn int_greater_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn int_greater_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn int_greater_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn int_lower(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn int_lower_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn int_lower_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn int_lower_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn int_add(lhs: T, rhs: T) -> T;
        fn int_add_scalar(lhs: T, rhs: Scalar) -> T;
        fn int_sub(lhs: T, rhs: T) -> T;
        fn int_sub_scalar(lhs: T, rhs: Scalar) -> T;
        fn int_mul(lhs: T, rhs: T) -> T;
        fn int_mul_scalar(lhs: T, rhs: Scalar) -> T;
        fn int_div(lhs: T, rhs: T) -> T;
        fn int_div_scalar(lhs: T, rhs: Scalar) -> T;
        fn int_remainder(lhs: T, rhs: T) -> T;
        fn int_remainder_scalar(lhs: T, rhs: Scalar) -> T;
        fn int_into_float(tensor: T, out_dtype: FloatDType) -> T;
        fn int_swap_dims(tensor: T, dim1: usize, dim2: usize) -> T;
        fn int_permute(tensor: T, axes: &[usize]) -> T;
        fn int_flip(tensor: T, axes: &[usize]) -> T;
        fn int_random(
            shape: Shape, distribution: Distribution, device: &FlexDevice, dtype: IntDType,
        ) -> T;
        fn int_expand(tensor: T, shape: Shape) -> T;
        fn int_matmul(lhs: T, rhs: T) -> T;
        fn int_sum(tensor: T) -> T;
        fn int_sum_dim(tensor: T, dim: usize) -> T;
        fn int_prod(tensor: T) -> T;
        fn int_prod_dim(tensor: T, dim: usize) -> T;
        fn int_mean_dim(tensor: T, dim: usize) -> T;
        fn int_cumsum(tensor: T, dim: usize) -> T;
        fn int_cumprod(tensor: T, dim: usize) -> T;
        fn int_cummin(tensor: T, dim: usize) -> T;
        fn int_cummax(tensor: T, dim: usize) -> T;
        fn int_argmax(tensor: T, dim: usize) -> T;
        fn int_argmin(tensor: T, dim: usize) -> T;
        fn int_abs(tensor: T) -> T;
        fn bitwise_and(lhs: T, rhs: T) -> T;
        fn bitwise_and_scalar(lhs: T, rhs: Scalar) -> T;
        fn bitwise_or(lhs: T, rhs: T) -> T;
        fn bitwise_or_scalar(lhs: T, rhs: Scalar) -> T;
        fn bitwise_xor(lhs: T, rhs: T) -> T;
        fn bitwise_xor_scalar(lhs: T, rhs: Scalar) -> T;
        fn bitwise_not(tensor: T) -> T;
        fn bitwise_left_shift(lhs: T, rhs: T) -> T;
        fn bitwise_left_shift_scalar(lhs: T, rhs: Scalar) -> T;
        fn bitwise_right_shift(lhs: T, rhs: T) -> T;
        fn bitwise_right_shift_scalar(lhs: T, rhs: Scalar) -> T;
        fn int_cast(tensor: T, dtype: IntDType) -> T;
        fn int_unfold(tensor: T, dim: usize, size: usize, step: usize) -> T;
        fn int_neg(tensor: T) -> T;
        fn int_clamp(tensor: T, min: Scalar, max: Scalar) -> T;
        fn int_clamp_min(tensor: T, min: Scalar) -> T;
        fn int_clamp_max(tensor: T, max: Scalar) -> T;
        fn int_sign(tensor: T) -> T;
        fn int_mean(tensor: T) -> T;
        fn int_max(tensor: T) -> T;
        fn int_max_dim(tensor: T, dim: usize) -> T;
        fn int_min(tensor: T) -> T;
        fn int_min_dim(tensor: T, dim: usize) -> T;
        fn int_max_dim_with_indices(tensor: T, dim: usize) -> (T, T);
        fn int_min_dim_with_indices(tensor: T, dim: usize) -> (T, T);
        fn int_any(tensor: T, out_dtype: BoolDType) -> T;
        fn int_any_dim(tensor: T, dim: usize, out_dtype: BoolDType) -> T;
        fn int_all(tensor: T, out_dtype: BoolDType) -> T;
        fn int_all_dim(tensor: T, dim: usize, out_dtype: BoolDType) -> T;
        fn int_powi(lhs: T, rhs: T) -> T;
        fn int_zeros(shape: Shape, device: &FlexDevice, dtype: IntDType) -> T;
        fn int_ones(shape: Shape, device: &FlexDevice, dtype: IntDType) -> T;
        fn int_full(shape: Shape, fill_value: Scalar, device: &FlexDevice, dtype: IntDType) -> T;
        fn int_transpose(tensor: T) -> T;
        fn int_repeat_dim(tensor: T, dim: usize, times: usize) -> T;
        fn int_not_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn int_not_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn int_sort(tensor: T, dim: usize, descending: bool) -> T;
        fn int_sort_with_indices(tensor: T, dim: usize, descending: bool) -> (T, T);
        fn int_argsort(tensor: T, dim: usize, descending: bool) -> T;
        fn int_powi_scalar(lhs: T, rhs: Scalar) -> T;
        fn int_powi_scalar_impl(lhs: T, rhs: Scalar) -> T;
        fn int_max_abs(tensor: T) -> T;
        fn int_max_abs_dim(tensor: T, dim: usize) -> T;
        fn int_arange(range: core::ops::Range<i64>, device: &FlexDevice, dtype: IntDType) -> T;
        fn int_arange_step(
            range: core::ops::Range<i64>, step: usize, device: &FlexDevice, dtype: IntDType,
        ) -> T;
    }
}
