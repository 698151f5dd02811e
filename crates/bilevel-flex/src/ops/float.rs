//! Float operations.

use burn::backend::DType;
use burn::backend::ExecutionError;
use burn::backend::ops::{FloatTensorOps, GridSampleOptions};
use burn::backend::tensor::IndexingUpdateOp;
use burn::backend::{
    BoolDType, Distribution, FloatDType, IntDType, Scalar, Shape, Slice, TensorData, TensorMetadata,
};
use burn_flex::{Flex, FlexDevice};

use super::T;
use crate::elementwise::fill;
use crate::functions::{exp, log, tanh};
use crate::matmul::matmul;
use crate::{FastFlex, gather};

impl FloatTensorOps<Self> for FastFlex {
    fn float_matmul(lhs: T, rhs: T) -> T {
        matmul(lhs, rhs)
    }

    two! {
        float_add: |a, b| a + b;
        float_sub: |a, b| a - b;
        float_mul: |a, b| a * b;
        float_div: |a, b| a / b;
    }

    with_number! {
        float_add_scalar: |a, c| a + c;
        float_sub_scalar: |a, c| a - c;
        float_mul_scalar: |a, c| a * c;
        float_div_scalar: |a, c| a / c;
    }

    in_f32! {
        float_exp: exp;
        float_log: log;
        float_tanh: tanh;
    }

    fn float_neg(tensor: T) -> T {
        one!(tensor, |a| -a, Flex::float_neg)
    }

    fn float_powi_scalar(tensor: T, exponent: Scalar) -> T {
        if exponent.elem::<f64>() == 2.0 {
            return one!(tensor, |a| a * a, |t| Flex::float_powi_scalar(t, exponent));
        }
        Flex::float_powi_scalar(tensor, exponent)
    }

    fn float_mask_fill(tensor: T, mask: T, value: Scalar) -> T {
        let flex = |tensor, mask| Flex::float_mask_fill(tensor, mask, value);
        match tensor.dtype() {
            DType::F32 => fill(tensor, mask, value.elem::<f64>() as f32, flex),
            DType::F64 => fill(tensor, mask, value.elem::<f64>(), flex),
            _ => flex(tensor, mask),
        }
    }

    fn float_gather(dim: usize, tensor: T, indices: T) -> T {
        let is_last = dim + 1 == tensor.shape().num_dims();
        let gathered = if is_last { gather::gather(&tensor, &indices) } else { None };
        gathered.unwrap_or_else(|| Flex::float_gather(dim, tensor, indices))
    }

    fn float_scatter(dim: usize, tensor: T, indices: T, value: T, update: IndexingUpdateOp) -> T {
        let is_last = dim + 1 == tensor.shape().num_dims();
        match update {
            IndexingUpdateOp::Add if is_last => gather::scatter_add(tensor, &indices, &value)
                .unwrap_or_else(|x| Flex::float_scatter(dim, x, indices, value, update)),
            _ => Flex::float_scatter(dim, tensor, indices, value, update),
        }
    }

    forward! {
        fn float_from_data(data: TensorData, device: &FlexDevice) -> T;
        fn float_random(
            shape: Shape, distribution: Distribution, device: &FlexDevice, dtype: FloatDType,
        ) -> T;
        fn float_into_data(
            tensor: T,
        ) -> impl Future<Output = Result<TensorData, ExecutionError>> + Send;
        fn float_to_device(tensor: T, device: &FlexDevice) -> T;
        fn float_detach(tensor: T) -> T;
        fn float_into_int(tensor: T, out_dtype: IntDType) -> T;
        fn float_empty(shape: Shape, device: &FlexDevice, dtype: FloatDType) -> T;
        fn float_remainder(lhs: T, rhs: T) -> T;
        fn float_remainder_scalar(lhs: T, rhs: Scalar) -> T;
        fn float_cross(lhs: T, rhs: T, dim: usize) -> T;
        fn float_recip(tensor: T) -> T;
        fn float_swap_dims(tensor: T, dim1: usize, dim2: usize) -> T;
        fn float_permute(tensor: T, axes: &[usize]) -> T;
        fn float_flip(tensor: T, axes: &[usize]) -> T;
        fn float_cat(tensors: Vec<T>, dim: usize) -> T;
        fn float_reshape(tensor: T, shape: Shape) -> T;
        fn float_scatter_nd(data: T, indices: T, values: T, reduction: IndexingUpdateOp) -> T;
        fn float_gather_nd(data: T, indices: T) -> T;
        fn float_select(tensor: T, dim: usize, indices: T) -> T;
        fn float_select_assign(
            tensor: T, dim: usize, indices: T, value: T, update: IndexingUpdateOp,
        ) -> T;
        fn float_slice(tensor: T, slices: &[Slice]) -> T;
        fn float_slice_assign(tensor: T, slices: &[Slice], value: T) -> T;
        fn float_mask_where(tensor: T, mask: T, value: T) -> T;
        fn float_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn float_greater(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn float_greater_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn float_lower(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn float_lower_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn float_not_equal(lhs: T, rhs: T, out_dtype: BoolDType) -> T;
        fn float_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn float_not_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn float_greater_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn float_greater_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn float_lower_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn float_lower_equal_elem(lhs: T, rhs: Scalar, out_dtype: BoolDType) -> T;
        fn float_clamp(tensor: T, min: Scalar, max: Scalar) -> T;
        fn float_clamp_min(tensor: T, min: Scalar) -> T;
        fn float_clamp_max(tensor: T, max: Scalar) -> T;
        fn float_sign(tensor: T) -> T;
        fn float_mean(tensor: T) -> T;
        fn float_max(tensor: T) -> T;
        fn float_max_dim(tensor: T, dim: usize) -> T;
        fn float_min(tensor: T) -> T;
        fn float_min_dim(tensor: T, dim: usize) -> T;
        fn float_max_dim_with_indices(tensor: T, dim: usize, indices_dtype: IntDType) -> (T, T);
        fn float_min_dim_with_indices(tensor: T, dim: usize, indices_dtype: IntDType) -> (T, T);
        fn float_any(tensor: T, out_dtype: BoolDType) -> T;
        fn float_any_dim(tensor: T, dim: usize, out_dtype: BoolDType) -> T;
        fn float_all(tensor: T, out_dtype: BoolDType) -> T;
        fn float_all_dim(tensor: T, dim: usize, out_dtype: BoolDType) -> T;
        fn float_sum(tensor: T) -> T;
        fn float_sum_dim(tensor: T, dim: usize) -> T;
        fn float_mean_dim(tensor: T, dim: usize) -> T;
        fn float_prod(tensor: T) -> T;
        fn float_prod_dim(tensor: T, dim: usize) -> T;
        fn float_cumsum(tensor: T, dim: usize) -> T;
        fn float_cumprod(tensor: T, dim: usize) -> T;
        fn float_cummin(tensor: T, dim: usize) -> T;
        fn float_cummax(tensor: T, dim: usize) -> T;
        fn float_cast(tensor: T, dtype: FloatDType) -> T;
        fn float_log1p(tensor: T) -> T;
        fn float_powf(lhs: T, rhs: T) -> T;
        fn float_powf_scalar_impl(tensor: T, value: Scalar) -> T;
        fn float_sqrt(tensor: T) -> T;
        fn float_abs(tensor: T) -> T;
        fn float_cos(tensor: T) -> T;
        fn float_sin(tensor: T) -> T;
        fn float_tan(tensor: T) -> T;
        fn float_cosh(tensor: T) -> T;
        fn float_sinh(tensor: T) -> T;
        fn float_acos(tensor: T) -> T;
        fn float_acosh(tensor: T) -> T;
        fn float_asin(tensor: T) -> T;
        fn float_asinh(tensor: T) -> T;
        fn float_atan(tensor: T) -> T;
        fn float_atanh(tensor: T) -> T;
        fn float_atan2(lhs: T, rhs: T) -> T;
        fn float_round(tensor: T) -> T;
        fn float_floor(tensor: T) -> T;
        fn float_ceil(tensor: T) -> T;
        fn float_trunc(tensor: T) -> T;
        fn float_erf(tensor: T) -> T;
        fn float_argmax(tensor: T, dim: usize, out_dtype: IntDType) -> T;
        fn float_argmin(tensor: T, dim: usize, out_dtype: IntDType) -> T;
        fn float_expand(tensor: T, shape: Shape) -> T;
        fn float_unfold(tensor: T, dim: usize, size: usize, step: usize) -> T;
        fn float_grid_sample_2d(tensor: T, grid: T, options: GridSampleOptions) -> T;
        fn float_zeros(shape: Shape, device: &FlexDevice, dtype: FloatDType) -> T;
        fn float_ones(shape: Shape, device: &FlexDevice, dtype: FloatDType) -> T;
        fn float_full(
            shape: Shape, fill_value: Scalar, device: &FlexDevice, dtype: FloatDType,
        ) -> T;
        fn float_transpose(tensor: T) -> T;
        fn float_repeat_dim(tensor: T, dim: usize, times: usize) -> T;
        fn float_sort(tensor: T, dim: usize, descending: bool) -> T;
        fn float_sort_with_indices(
            tensor: T, dim: usize, descending: bool, indices_dtype: IntDType,
        ) -> (T, T);
        fn float_argsort(tensor: T, dim: usize, descending: bool, out_dtype: IntDType) -> T;
        fn float_powi(lhs: T, rhs: T) -> T;
        fn float_powf_scalar(tensor: T, value: Scalar) -> T;
        fn float_max_abs(tensor: T) -> T;
        fn float_max_abs_dim(tensor: T, dim: usize) -> T;
        fn float_is_nan(tensor: T, out_dtype: BoolDType) -> T;
        fn float_is_inf(tensor: T, out_dtype: BoolDType) -> T;
        fn float_hypot(lhs: T, rhs: T) -> T;
    }
}
