//! Float operations: all of Burn's `FloatTensorOps`.
//!
//! Linear operations are applied to value and tangent alike; the rules of the others are in the files below.
//! Comparisons, roundings and indices are piecewise constant: their tangent is zero.

mod arithmetic;
mod elementary;
mod index;
mod reduce;

use burn::backend::ops::{FloatTensorOps, GridSampleOptions, PadMode};
use burn::backend::tensor::{BoolTensor, Device, FloatTensor, IndexingUpdateOp, IntTensor};
use burn::backend::{
    Backend, BoolDType, Distribution, ExecutionError, FloatDType, IntDType, Scalar, Shape, Slice,
    TensorData, TensorMetadata,
};

use crate::dual::tensor::{bilinear, jointly_linear, linear, unary};
use crate::dual::{Dual, DualTensor};

type F<B> = FloatTensor<Dual<B>>;

/// Operations that create a tensor: constants.
macro_rules! create {
    ($($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        fn $name($($arg: $ty),*) -> F<B> {
            DualTensor::constant(B::$name($($arg),*))
        }
    )*};
}

/// Linear operations of one tensor: `d f(x) = f(dx)`.
macro_rules! linear {
    ($($name:ident(x $(, $arg:ident: $ty:ty)*);)*) => {$(
        fn $name(x: F<B> $(, $arg: $ty)*) -> F<B> {
            linear(x, |x| B::$name(x $(, $arg.clone())*))
        }
    )*};
}

/// Smooth operations of one tensor, whose derivatives are in [`elementary`].
macro_rules! smooth {
    ($($name:ident => $push:ident;)*) => {$(
        fn $name(x: F<B>) -> F<B> {
            unary(x, B::$name, elementary::$push::<B>)
        }
    )*};
}

/// Piecewise constant operations: the tangent is zero.
macro_rules! constant {
    ($($name:ident;)*) => {$(
        fn $name(x: F<B>) -> F<B> {
            DualTensor::constant(B::$name(x.primal))
        }
    )*};
}

/// Operations of float tensors with a boolean or integer result.
macro_rules! discrete {
    ($($name:ident($x:ident $(, $y:ident)? ; $($arg:ident: $ty:ty),*) -> $out:ident;)*) => {$(
        fn $name($x: F<B> $(, $y: F<B>)? $(, $arg: $ty)*) -> $out<B> {
            B::$name($x.primal $(, $y.primal)? $(, $arg)*)
        }
    )*};
}

impl<B: Backend> FloatTensorOps<Self> for Dual<B> {
    create! {
        float_from_data(data: TensorData, device: &Device<B>);
        float_random(shape: Shape, distribution: Distribution, device: &Device<B>, dtype: FloatDType);
        float_zeros(shape: Shape, device: &Device<B>, dtype: FloatDType);
        float_ones(shape: Shape, device: &Device<B>, dtype: FloatDType);
        float_full(shape: Shape, value: Scalar, device: &Device<B>, dtype: FloatDType);
        float_empty(shape: Shape, device: &Device<B>, dtype: FloatDType);
    }

    linear! {
        float_repeat_dim(x, dim: usize, times: usize);
        float_mul_scalar(x, factor: Scalar);
        float_div_scalar(x, divisor: Scalar);
        float_neg(x);
        float_transpose(x);
        float_swap_dims(x, dim1: usize, dim2: usize);
        float_permute(x, axes: &[usize]);
        float_flip(x, axes: &[usize]);
        float_reshape(x, shape: Shape);
        float_expand(x, shape: Shape);
        float_gather_nd(x, indices: IntTensor<B>);
        float_select(x, dim: usize, indices: IntTensor<B>);
        float_slice(x, slices: &[Slice]);
        float_unfold(x, dim: usize, size: usize, step: usize);
        float_sum(x);
        float_sum_dim(x, dim: usize);
        float_sum_dims(x, dims: &[usize]);
        float_mean(x);
        float_mean_dim(x, dim: usize);
        float_cumsum(x, dim: usize);
        float_cast(x, dtype: FloatDType);
    }

    smooth! {
        float_recip => recip;
        float_exp => exp;
        float_log => log;
        float_log1p => log1p;
        float_sqrt => sqrt;
        float_abs => abs;
        float_cos => cos;
        float_sin => sin;
        float_tan => tan;
        float_cosh => cosh;
        float_sinh => sinh;
        float_tanh => tanh;
        float_acos => acos;
        float_acosh => acosh;
        float_asin => asin;
        float_asinh => asinh;
        float_atan => atan;
        float_atanh => atanh;
        float_erf => erf;
    }

    constant! {
        float_round;
        float_floor;
        float_ceil;
        float_trunc;
        float_sign;
    }

    discrete! {
        float_into_int(x; dtype: IntDType) -> IntTensor;
        float_equal(x, y; dtype: BoolDType) -> BoolTensor;
        float_not_equal(x, y; dtype: BoolDType) -> BoolTensor;
        float_greater(x, y; dtype: BoolDType) -> BoolTensor;
        float_greater_equal(x, y; dtype: BoolDType) -> BoolTensor;
        float_lower(x, y; dtype: BoolDType) -> BoolTensor;
        float_lower_equal(x, y; dtype: BoolDType) -> BoolTensor;
        float_equal_elem(x; value: Scalar, dtype: BoolDType) -> BoolTensor;
        float_not_equal_elem(x; value: Scalar, dtype: BoolDType) -> BoolTensor;
        float_greater_elem(x; value: Scalar, dtype: BoolDType) -> BoolTensor;
        float_greater_equal_elem(x; value: Scalar, dtype: BoolDType) -> BoolTensor;
        float_lower_elem(x; value: Scalar, dtype: BoolDType) -> BoolTensor;
        float_lower_equal_elem(x; value: Scalar, dtype: BoolDType) -> BoolTensor;
        float_any(x; dtype: BoolDType) -> BoolTensor;
        float_any_dim(x; dim: usize, dtype: BoolDType) -> BoolTensor;
        float_all(x; dtype: BoolDType) -> BoolTensor;
        float_all_dim(x; dim: usize, dtype: BoolDType) -> BoolTensor;
        float_is_nan(x; dtype: BoolDType) -> BoolTensor;
        float_is_inf(x; dtype: BoolDType) -> BoolTensor;
        float_argmax(x; dim: usize, dtype: IntDType) -> IntTensor;
        float_argmin(x; dim: usize, dtype: IntDType) -> IntTensor;
        float_argtopk(x; dim: usize, k: usize, dtype: IntDType) -> IntTensor;
        float_argsort(x; dim: usize, descending: bool, dtype: IntDType) -> IntTensor;
    }

    // ---- data and the underlying graph ------------------------------------------------------------

    fn float_into_data(x: F<B>) -> impl Future<Output = Result<TensorData, ExecutionError>> + Send {
        B::float_into_data(x.primal)
    }

    fn float_to_device(x: F<B>, device: &Device<B>) -> F<B> {
        linear(x, |x| B::float_to_device(x, device))
    }

    // A detached value is a constant for every derivative, including forward ones.
    fn float_detach(x: F<B>) -> F<B> {
        DualTensor::constant(B::float_detach(x.primal))
    }

    fn float_set_require_grad(x: F<B>, require_grad: bool) -> F<B> {
        DualTensor { primal: B::float_set_require_grad(x.primal, require_grad), tangent: x.tangent }
    }

    fn float_is_require_grad(x: &F<B>) -> bool {
        B::float_is_require_grad(&x.primal)
    }

    // ---- arithmetic ------------------------------------------------------------------------------

    fn float_add(x: F<B>, y: F<B>) -> F<B> {
        arithmetic::add(x, y)
    }

    fn float_add_scalar(x: F<B>, y: Scalar) -> F<B> {
        DualTensor { primal: B::float_add_scalar(x.primal, y), tangent: x.tangent }
    }

    fn float_sub(x: F<B>, y: F<B>) -> F<B> {
        arithmetic::sub(x, y)
    }

    fn float_sub_scalar(x: F<B>, y: Scalar) -> F<B> {
        DualTensor { primal: B::float_sub_scalar(x.primal, y), tangent: x.tangent }
    }

    fn float_mul(x: F<B>, y: F<B>) -> F<B> {
        bilinear(x, y, B::float_mul)
    }

    fn float_div(x: F<B>, y: F<B>) -> F<B> {
        arithmetic::div(x, y)
    }

    fn float_remainder(x: F<B>, y: F<B>) -> F<B> {
        arithmetic::remainder(x, y)
    }

    fn float_remainder_scalar(x: F<B>, y: Scalar) -> F<B> {
        DualTensor { primal: B::float_remainder_scalar(x.primal, y), tangent: x.tangent }
    }

    fn float_matmul(x: F<B>, y: F<B>) -> F<B> {
        bilinear(x, y, B::float_matmul)
    }

    fn float_cross(x: F<B>, y: F<B>, dim: usize) -> F<B> {
        bilinear(x, y, |x, y| B::float_cross(x, y, dim))
    }

    fn float_clamp_min(x: F<B>, min: Scalar) -> F<B> {
        unary(
            x,
            |x| B::float_clamp_min(x, min),
            |x, _, dx| arithmetic::inside::<B>(x, dx, Some(min), None),
        )
    }

    fn float_clamp_max(x: F<B>, max: Scalar) -> F<B> {
        unary(
            x,
            |x| B::float_clamp_max(x, max),
            |x, _, dx| arithmetic::inside::<B>(x, dx, None, Some(max)),
        )
    }

    fn float_clamp(x: F<B>, min: Scalar, max: Scalar) -> F<B> {
        unary(
            x,
            |x| B::float_clamp(x, min, max),
            |x, _, dx| arithmetic::inside::<B>(x, dx, Some(min), Some(max)),
        )
    }

    fn float_powf(x: F<B>, y: F<B>) -> F<B> {
        arithmetic::powf(x, y)
    }

    fn float_powi(x: F<B>, y: IntTensor<B>) -> F<B> {
        unary(
            x,
            |x| B::float_powi(x, y.clone()),
            |x, _, dx| arithmetic::powi_push::<B>(x, y.clone(), dx),
        )
    }

    fn float_powi_scalar(x: F<B>, y: Scalar) -> F<B> {
        unary(x, |x| B::float_powi_scalar(x, y), |x, _, dx| arithmetic::pow_push::<B>(x, y, dx))
    }

    fn float_powi_scalar_impl(x: F<B>, y: Scalar) -> F<B> {
        unary(
            x,
            |x| B::float_powi_scalar_impl(x, y),
            |x, _, dx| arithmetic::pow_push::<B>(x, y, dx),
        )
    }

    fn float_powf_scalar(x: F<B>, y: Scalar) -> F<B> {
        unary(x, |x| B::float_powf_scalar(x, y), |x, _, dx| arithmetic::pow_push::<B>(x, y, dx))
    }

    fn float_powf_scalar_impl(x: F<B>, y: Scalar) -> F<B> {
        unary(
            x,
            |x| B::float_powf_scalar_impl(x, y),
            |x, _, dx| arithmetic::pow_push::<B>(x, y, dx),
        )
    }

    fn float_hypot(x: F<B>, y: F<B>) -> F<B> {
        arithmetic::hypot(x, y)
    }

    fn float_atan2(y: F<B>, x: F<B>) -> F<B> {
        arithmetic::atan2(y, x)
    }

    // ---- indexing --------------------------------------------------------------------------------

    fn float_gather(dim: usize, x: F<B>, indices: IntTensor<B>) -> F<B> {
        linear(x, |x| B::float_gather(dim, x, indices.clone()))
    }

    fn float_scatter(
        dim: usize,
        x: F<B>,
        indices: IntTensor<B>,
        value: F<B>,
        how: IndexingUpdateOp,
    ) -> F<B> {
        index::update(x, value, how, "float_scatter", |x, v| {
            B::float_scatter(dim, x, indices.clone(), v, how)
        })
    }

    fn float_scatter_nd(
        x: F<B>,
        indices: IntTensor<B>,
        values: F<B>,
        how: IndexingUpdateOp,
    ) -> F<B> {
        index::update(x, values, how, "float_scatter_nd", |x, v| {
            B::float_scatter_nd(x, indices.clone(), v, how)
        })
    }

    fn float_select_assign(
        x: F<B>,
        dim: usize,
        indices: IntTensor<B>,
        value: F<B>,
        how: IndexingUpdateOp,
    ) -> F<B> {
        index::update(x, value, how, "float_select_assign", |x, v| {
            B::float_select_assign(x, dim, indices.clone(), v, how)
        })
    }

    fn float_slice_assign(x: F<B>, slices: &[Slice], value: F<B>) -> F<B> {
        jointly_linear(x, value, |x, v| B::float_slice_assign(x, slices, v))
    }

    fn float_mask_where(x: F<B>, mask: BoolTensor<B>, value: F<B>) -> F<B> {
        jointly_linear(x, value, |x, v| B::float_mask_where(x, mask.clone(), v))
    }

    fn float_mask_fill(x: F<B>, mask: BoolTensor<B>, value: Scalar) -> F<B> {
        DualTensor {
            primal: B::float_mask_fill(x.primal, mask.clone(), value),
            tangent: x.tangent.map(|dx| B::float_mask_fill(dx, mask, 0.into())),
        }
    }

    fn float_mask_select(
        x: F<B>,
        mask: BoolTensor<B>,
    ) -> impl Future<Output = F<B>> + 'static + Send {
        let tangent = x.tangent.map(|dx| B::float_mask_select(dx, mask.clone()));
        let primal = B::float_mask_select(x.primal, mask);
        async move {
            let primal = primal.await;
            match tangent {
                None => DualTensor::constant(primal),
                Some(tangent) => DualTensor { primal, tangent: Some(tangent.await) },
            }
        }
    }

    fn float_cat(tensors: Vec<F<B>>, dim: usize) -> F<B> {
        index::cat(tensors, dim)
    }

    // Values written around a tensor are constant; values copied there have the tangent of their source.
    fn float_pad(x: F<B>, padding: &[(usize, usize)], mode: PadMode) -> F<B> {
        let of_tangent = match mode {
            PadMode::Constant(_) => PadMode::Constant(0.0),
            copies => copies,
        };
        DualTensor {
            primal: B::float_pad(x.primal, padding, mode),
            tangent: x.tangent.map(|dx| B::float_pad(dx, padding, of_tangent)),
        }
    }

    fn float_grid_sample_2d(x: F<B>, grid: F<B>, options: GridSampleOptions) -> F<B> {
        index::grid_sample_2d(x, grid, options)
    }

    // ---- reductions and order --------------------------------------------------------------------

    fn float_prod(x: F<B>) -> F<B> {
        let count = x.shape().num_elements();
        unary(x, B::float_prod, |x, _, dx| {
            let flat = Shape::new([count]);
            let (x, dx) = (B::float_reshape(x, flat.clone()), B::float_reshape(dx, flat));
            reduce::prod_push::<B>(x, dx, 0)
        })
    }

    fn float_prod_dim(x: F<B>, dim: usize) -> F<B> {
        unary(x, |x| B::float_prod_dim(x, dim), |x, _, dx| reduce::prod_push::<B>(x, dx, dim))
    }

    fn float_cumprod(x: F<B>, dim: usize) -> F<B> {
        unary(x, |x| B::float_cumprod(x, dim), |x, _, dx| reduce::cumprod_push::<B>(x, dx, dim))
    }

    fn float_cummin(x: F<B>, dim: usize) -> F<B> {
        unary(x, |x| B::float_cummin(x, dim), |x, y, dx| reduce::running_push::<B>(x, y, dx, dim))
    }

    fn float_cummax(x: F<B>, dim: usize) -> F<B> {
        unary(x, |x| B::float_cummax(x, dim), |x, y, dx| reduce::running_push::<B>(x, y, dx, dim))
    }

    fn float_max(x: F<B>) -> F<B> {
        reduce::all(x, B::float_max, Self::float_max_dim)
    }

    fn float_max_dim(x: F<B>, dim: usize) -> F<B> {
        reduce::at_index(
            x,
            |x| B::float_max_dim(x, dim),
            dim,
            |x, int| B::float_max_dim_with_indices(x, dim, int),
        )
    }

    fn float_max_dim_with_indices(x: F<B>, dim: usize, dtype: IntDType) -> (F<B>, IntTensor<B>) {
        let (y, indices) = B::float_max_dim_with_indices(x.primal, dim, dtype);
        reduce::gathered(y, indices, x.tangent, dim)
    }

    fn float_min(x: F<B>) -> F<B> {
        reduce::all(x, B::float_min, Self::float_min_dim)
    }

    fn float_min_dim(x: F<B>, dim: usize) -> F<B> {
        reduce::at_index(
            x,
            |x| B::float_min_dim(x, dim),
            dim,
            |x, int| B::float_min_dim_with_indices(x, dim, int),
        )
    }

    fn float_min_dim_with_indices(x: F<B>, dim: usize, dtype: IntDType) -> (F<B>, IntTensor<B>) {
        let (y, indices) = B::float_min_dim_with_indices(x.primal, dim, dtype);
        reduce::gathered(y, indices, x.tangent, dim)
    }

    fn float_max_abs(x: F<B>) -> F<B> {
        match x.tangent {
            None => DualTensor::constant(B::float_max_abs(x.primal)),
            Some(_) => Self::float_max(Self::float_abs(x)),
        }
    }

    fn float_max_abs_dim(x: F<B>, dim: usize) -> F<B> {
        match x.tangent {
            None => DualTensor::constant(B::float_max_abs_dim(x.primal, dim)),
            Some(_) => Self::float_max_dim(Self::float_abs(x), dim),
        }
    }

    fn float_topk(x: F<B>, dim: usize, k: usize) -> F<B> {
        reduce::topk(x, dim, k)
    }

    fn float_topk_with_indices(
        x: F<B>,
        dim: usize,
        k: usize,
        dtype: IntDType,
    ) -> (F<B>, IntTensor<B>) {
        let (y, indices) = B::float_topk_with_indices(x.primal, dim, k, dtype);
        reduce::gathered(y, indices, x.tangent, dim)
    }

    fn float_sort(x: F<B>, dim: usize, descending: bool) -> F<B> {
        reduce::at_index(
            x,
            |x| B::float_sort(x, dim, descending),
            dim,
            |x, int| B::float_sort_with_indices(x, dim, descending, int),
        )
    }

    fn float_sort_with_indices(
        x: F<B>,
        dim: usize,
        descending: bool,
        dtype: IntDType,
    ) -> (F<B>, IntTensor<B>) {
        let (y, indices) = B::float_sort_with_indices(x.primal, dim, descending, dtype);
        reduce::gathered(y, indices, x.tangent, dim)
    }
}
