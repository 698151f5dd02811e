//! Float operations.

use burn::backend::ops::{GridSampleOptions, InterpolateMode, PadMode};
use burn::backend::tensor::{FloatTensor, IndexingUpdateOp};
use burn::backend::{Backend, Shape, Slice, TensorMetadata, read_sync};

use super::super::draw::{
    ANY, DISTINCT,
    Domain::{Between, Whole},
    POSITIVE, input,
};
use super::super::{
    Autodiff, Bounds, Case, Dual, Inner, On, Reach, STRICT, SecondOrder, check, device, on_wgpu,
};
use super::{SECOND_ORDER, distinct_indices, indices, mask};
use crate::SUITE;

const UNIT: super::super::draw::Domain = Between(-0.8, 0.8);

table! {
    // ---- arithmetic
    float_add(x, y): |d| d.pair(ANY, ANY) => B::float_add(x, y);
    float_sub(x, y): |d| d.pair(ANY, ANY) => B::float_sub(x, y);
    float_mul(x, y): |d| d.pair(ANY, ANY) => B::float_mul(x, y);
    float_div(x, y): |d| d.pair(ANY, POSITIVE) => B::float_div(x, y);
    float_remainder(x, y): |d| d.pair_if_broadcast(Between(2.3, 2.7), Between(1.0, 1.1)) => B::float_remainder(x, y);
    float_remainder_negative(x, y): |d| d.pair_if_broadcast(Between(-2.7, -2.3), Between(1.0, 1.1)) => B::float_remainder(x, y);
    float_powf(x, y): |d| d.pair_if_broadcast(POSITIVE, ANY) => B::float_powf(x, y);
    float_atan2(y, x): |d| d.pair_if_broadcast(POSITIVE, ANY) => B::float_atan2(y, x);
    float_hypot(x, y): |d| d.pair_if_broadcast(POSITIVE, ANY) => B::float_hypot(x, y);
    float_add_scalar(x): |d| d.cube(ANY) => B::float_add_scalar(x, 0.7.into());
    float_sub_scalar(x): |d| d.cube(ANY) => B::float_sub_scalar(x, 0.7.into());
    float_mul_scalar(x): |d| d.cube(ANY) => B::float_mul_scalar(x, 0.7.into());
    float_div_scalar(x): |d| d.cube(ANY) => B::float_div_scalar(x, 0.7.into()), DIV_SCALAR;
    float_remainder_scalar(x): |d| d.cube(DISTINCT) => B::float_remainder_scalar(x, 0.55.into());
    float_neg(x): |d| d.cube(ANY) => B::float_neg(x);
    float_matmul(x, y): |d| {
        let (m, k, n, b) = (d.size(), d.size(), d.size(), d.size());
        vec![input([b, m, k], ANY), input([b, k, n], ANY)]
    } => B::float_matmul(x, y);
    float_matmul_broadcast(x, y): |d| {
        let (m, k, n, b) = (d.size(), d.size(), d.size(), d.size());
        vec![input([b, m, k], ANY), input([1, k, n], ANY)]
    } => B::float_matmul(x, y);
    float_cross(x, y): |d| {
        let (a, b) = (d.size(), d.size());
        vec![input([a, 3, b], ANY), input([a, 3, b], ANY)]
    } => B::float_cross(x, y, 1);
    float_clamp(x): |d| d.cube(DISTINCT) => B::float_clamp(x, (-0.35).into(), 0.55.into());
    float_clamp_min(x): |d| d.cube(DISTINCT) => B::float_clamp_min(x, 0.25.into());
    float_clamp_max(x): |d| d.cube(DISTINCT) => B::float_clamp_max(x, 0.25.into());

    // ---- powers
    float_powi(x): |d| d.cube(POSITIVE) => { let n = indices::<B>(&x.shape().to_vec(), 4); B::float_powi(x, n) }, POWI;
    float_powi_scalar(x): |d| d.cube(DISTINCT) => B::float_powi_scalar(x, 3.into());
    float_powi_scalar_square(x): |d| d.cube(ANY) => B::float_powi_scalar(x, 2.into());
    float_powi_scalar_zero(x): |d| d.cube(ANY) => B::float_powi_scalar(x, 0.into());
    float_powi_scalar_inverse(x): |d| d.cube(POSITIVE) => B::float_powi_scalar(x, (-1).into());
    float_powi_scalar_impl(x): |d| d.cube(POSITIVE) => B::float_powi_scalar_impl(x, 3.into());
    float_powf_scalar(x): |d| d.cube(POSITIVE) => B::float_powf_scalar(x, 1.7.into());
    float_powf_scalar_whole(x): |d| d.cube(DISTINCT) => B::float_powf_scalar(x, 3.0.into());
    float_powf_scalar_impl(x): |d| d.cube(POSITIVE) => B::float_powf_scalar_impl(x, 1.7.into());

    // ---- elementary functions
    float_recip(x): |d| d.cube(POSITIVE) => B::float_recip(x);
    float_exp(x): |d| d.cube(ANY) => B::float_exp(x);
    float_log(x): |d| d.cube(POSITIVE) => B::float_log(x);
    float_log1p(x): |d| d.cube(UNIT) => B::float_log1p(x);
    float_sqrt(x): |d| d.cube(POSITIVE) => B::float_sqrt(x);
    float_abs(x): |d| d.cube(DISTINCT) => B::float_abs(x);
    float_cos(x): |d| d.cube(ANY) => B::float_cos(x);
    float_sin(x): |d| d.cube(ANY) => B::float_sin(x);
    float_tan(x): |d| d.cube(UNIT) => B::float_tan(x);
    float_cosh(x): |d| d.cube(ANY) => B::float_cosh(x);
    float_sinh(x): |d| d.cube(ANY) => B::float_sinh(x);
    float_tanh(x): |d| d.cube(ANY) => B::float_tanh(x);
    float_acos(x): |d| d.cube(UNIT) => B::float_acos(x);
    float_acosh(x): |d| d.cube(Between(1.3, 3.0)) => B::float_acosh(x);
    float_asin(x): |d| d.cube(UNIT) => B::float_asin(x);
    float_asinh(x): |d| d.cube(ANY) => B::float_asinh(x);
    float_atan(x): |d| d.cube(ANY) => B::float_atan(x);
    float_atanh(x): |d| d.cube(UNIT) => B::float_atanh(x);
    float_erf(x): |d| d.cube(ANY) => B::float_erf(x);

    // ---- piecewise constant: a tangent of zero
    float_round(x): |d| d.cube(DISTINCT) => B::float_round(x);
    float_floor(x): |d| d.cube(DISTINCT) => B::float_floor(x);
    float_ceil(x): |d| d.cube(DISTINCT) => B::float_ceil(x);
    float_trunc(x): |d| d.cube(DISTINCT) => B::float_trunc(x);
    float_sign(x): |d| d.cube(DISTINCT) => B::float_sign(x);

    // ---- shape
    float_to_device(x): |d| d.cube(ANY) => B::float_to_device(x, &device::<B>());
    float_set_require_grad(x): |d| d.cube(ANY) => B::float_set_require_grad(B::float_neg(x), false), FORWARD_ONLY;
    float_cast(x): |d| d.cube(ANY) => B::float_cast(x, SUITE.float);
    float_repeat_dim(x): |d| d.cube(ANY) => B::float_repeat_dim(x, 1, 3);
    float_repeat_dim_of_one(x): |d| vec![input([d.size(), 1, d.size()], ANY)] => B::float_repeat_dim(x, 1, 3);
    float_transpose(x): |d| d.cube(ANY) => B::float_transpose(x);
    float_swap_dims(x): |d| d.cube(ANY) => B::float_swap_dims(x, 0, 2);
    float_permute(x): |d| d.cube(ANY) => B::float_permute(x, &[2, 0, 1]);
    float_flip(x): |d| d.cube(ANY) => B::float_flip(x, &[0, 2]);
    float_reshape(x): |d| d.cube(ANY) => { let n = x.shape().num_elements(); B::float_reshape(x, Shape::from([n])) };
    float_expand(x): |d| vec![input([d.size(), 1, d.size()], ANY)] => {
        let [a, _, c] = x.shape().dims();
        B::float_expand(x, Shape::from([a, 3, c]))
    };
    float_unfold(x): |d| vec![input([d.size(), d.size() + 3], ANY)] => B::float_unfold(x, 1, 3, 2);
    float_pad_constant(x): |d| d.cube(ANY) => B::float_pad(x, &[(0, 2), (1, 1), (0, 0)], PadMode::Constant(0.7));
    float_pad_edge(x): |d| d.cube(ANY) => B::float_pad(x, &[(0, 2), (1, 1), (0, 0)], PadMode::Edge);
    float_pad_reflect(x): |d| vec![input([d.size(), d.size() + 2], ANY)] => B::float_pad(x, &[(0, 0), (2, 1)], PadMode::Reflect);
    float_cat(x, y): |d| {
        let (a, b, c, e) = (d.size(), d.size(), d.size(), d.size());
        vec![input([a, b, e], ANY), input([a, c, e], ANY)]
    } => B::float_cat(vec![x.clone(), y, x], 1);

    // ---- indexing
    float_gather(x): |d| vec![input([d.size(), d.size(), d.size()], ANY)] => {
        let [a, b, c] = x.shape().dims();
        B::float_gather(1, x, indices::<B>(&[a, 3, c], b))
    };
    float_scatter_add(x, y): |d| {
        let (a, b, c) = (d.size(), d.size(), d.size());
        vec![input([a, b, c], ANY), input([a, 3, c], ANY)]
    } => {
        let [a, b, c] = x.shape().dims();
        B::float_scatter(1, x, indices::<B>(&[a, 3, c], b), y, IndexingUpdateOp::Add)
    };
    float_scatter_assign(x, y): |d| {
        let (a, b, c) = (d.size(), d.size() + 2, d.size());
        vec![input([a, b, c], ANY), input([a, 3, c], ANY)]
    } => {
        let [a, b, c] = x.shape().dims();
        B::float_scatter(1, x, distinct_indices::<B>(&[a, 3, c], b), y, IndexingUpdateOp::Assign)
    };
    float_select(x): |d| d.cube(ANY) => { let n = x.shape()[1]; B::float_select(x, 1, indices::<B>(&[5], n)) };
    float_select_add(x, y): |d| {
        let (a, b, c) = (d.size(), d.size(), d.size());
        vec![input([a, b, c], ANY), input([a, 5, c], ANY)]
    } => { let n = x.shape()[1]; B::float_select_assign(x, 1, indices::<B>(&[5], n), y, IndexingUpdateOp::Add) };
    float_select_assign(x, y): |d| {
        let (a, b, c) = (d.size(), d.size() + 4, d.size());
        vec![input([a, b, c], ANY), input([a, 5, c], ANY)]
    } => {
        let i = distinct_indices::<B>(&[1, 5], x.shape()[1]);
        B::float_select_assign(x, 1, B::int_reshape(i, Shape::from([5])), y, IndexingUpdateOp::Assign)
    };
    float_gather_nd(x): |d| d.cube(ANY) => { let n = x.shape()[0]; B::float_gather_nd(x, indices::<B>(&[5, 1], n)) }, BACKWARD_RACES;
    float_scatter_nd_add(x, y): |d| {
        let (a, b, c) = (d.size(), d.size(), d.size());
        vec![input([a, b, c], ANY), input([5, b, c], ANY)]
    } => { let n = x.shape()[0]; B::float_scatter_nd(x, indices::<B>(&[5, 1], n), y, IndexingUpdateOp::Add) }, RACES;
    float_scatter_nd_assign(x, y): |d| {
        let (b, c) = (d.size(), d.size());
        vec![input([7, b, c], ANY), input([5, b, c], ANY)]
    } => B::float_scatter_nd(x, indices::<B>(&[5, 1], 7), y, IndexingUpdateOp::Assign);
    float_slice(x): |d| vec![input([d.size(), d.size() + 2], ANY)] => B::float_slice(x, &[Slice::full(), Slice::from(1..3)]);
    float_slice_step(x): |d| vec![input([d.size(), 5], ANY)] => B::float_slice(x, &[Slice::full(), Slice::new(0, None, 2)]);
    float_slice_assign(x, y): |d| {
        let (a, b) = (d.size(), d.size() + 2);
        vec![input([a, b], ANY), input([a, 2], ANY)]
    } => B::float_slice_assign(x, &[Slice::full(), Slice::from(1..3)], y);
    float_mask_where(x, y): |d| {
        let shape = [d.size(), d.size(), d.size()];
        vec![input(shape, ANY), input(shape, ANY)]
    } => { let m = mask::<B>(&x.shape().to_vec()); B::float_mask_where(x, m, y) };
    float_mask_fill(x): |d| d.cube(ANY) => { let m = mask::<B>(&x.shape().to_vec()); B::float_mask_fill(x, m, 0.3.into()) };
    float_mask_select(x): |d| d.cube(ANY) => { let m = mask::<B>(&x.shape().to_vec()); read_sync(B::float_mask_select(x, m)) }, BY_VALUE;
    float_grid_sample_2d(x, grid): |d| {
        let n = d.size();
        vec![input([n, d.size(), 4, 4], ANY), input([n, d.size(), d.size(), 2], Between(-0.2, 0.2))]
    } => B::float_grid_sample_2d(x, grid, GridSampleOptions::new(InterpolateMode::Bilinear));
    float_grid_sample_2d_edge(x, grid): |d| {
        let n = d.size();
        vec![input([n, d.size(), 4, 4], ANY), input([n, d.size(), d.size(), 2], Between(0.8, 0.98))]
    } => B::float_grid_sample_2d(x, grid, GridSampleOptions::new(InterpolateMode::Bilinear));

    // ---- reductions
    float_sum(x): |d| d.cube(ANY) => B::float_sum(x);
    float_sum_dim(x): |d| d.cube(ANY) => B::float_sum_dim(x, 1);
    float_sum_dims(x): |d| d.cube(ANY) => B::float_sum_dims(x, &[0, 2]);
    float_mean(x): |d| d.cube(ANY) => B::float_mean(x);
    float_mean_dim(x): |d| d.cube(ANY) => B::float_mean_dim(x, 1);
    float_prod(x): |d| d.tensor(2, POSITIVE) => B::float_prod(x);
    float_prod_dim(x): |d| d.cube(POSITIVE) => B::float_prod_dim(x, 1);
    float_prod_with_zeros(x): |d| d.tensor(2, Whole) => B::float_prod(x), AT_ZEROS;
    float_prod_dim_with_zeros(x): |d| d.cube(Whole) => B::float_prod_dim(x, 1), AT_ZEROS;
    float_cumprod_with_zeros(x): |d| d.cube(Whole) => B::float_cumprod(x, 1), AT_ZEROS;
    float_cumsum(x): |d| d.cube(ANY) => B::float_cumsum(x, 1);
    float_cumprod(x): |d| d.cube(POSITIVE) => B::float_cumprod(x, 1);
    float_cummin(x): |d| d.cube(DISTINCT) => B::float_cummin(x, 1);
    float_cummax(x): |d| d.cube(DISTINCT) => B::float_cummax(x, 1);
    float_max(x): |d| d.cube(DISTINCT) => B::float_max(x);
    float_max_dim(x): |d| d.cube(DISTINCT) => B::float_max_dim(x, 1);
    float_max_dim_with_indices(x): |d| d.cube(DISTINCT) => B::float_max_dim_with_indices(x, 1, SUITE.int).0;
    float_max_abs(x): |d| d.cube(DISTINCT) => B::float_max_abs(x);
    float_max_abs_dim(x): |d| d.cube(DISTINCT) => B::float_max_abs_dim(x, 1);
    float_min(x): |d| d.cube(DISTINCT) => B::float_min(x);
    float_min_dim(x): |d| d.cube(DISTINCT) => B::float_min_dim(x, 1);
    float_min_dim_with_indices(x): |d| d.cube(DISTINCT) => B::float_min_dim_with_indices(x, 1, SUITE.int).0;
    float_topk(x): |d| vec![input([d.size(), d.size() + 1, d.size()], DISTINCT)] => B::float_topk(x, 1, 2);
    float_topk_with_indices(x): |d| vec![input([d.size(), d.size() + 1, d.size()], DISTINCT)] => B::float_topk_with_indices(x, 1, 2, SUITE.int).0;
    float_sort(x): |d| d.cube(DISTINCT) => B::float_sort(x, 1, false);
    float_sort_descending(x): |d| d.cube(DISTINCT) => B::float_sort(x, 1, true);
    float_sort_with_indices(x): |d| d.cube(DISTINCT) => B::float_sort_with_indices(x, 1, false, SUITE.int).0;
}

/// `Autodiff` has no backward pass for it, or an empty one when no gradient is tracked.
const FORWARD_ONLY: Bounds = Bounds { reach: Reach::Forward, ..STRICT };

/// Burn's recorder expects a float exponent and refuses this one.
const POWI: Bounds = BY_VALUE;

/// The shape of the result depends on the values of the mask.
const BY_VALUE: Bounds = Bounds {
    reach: if matches!(SUITE.on, On::Capture) { Reach::Nothing } else { Reach::Both },
    ..STRICT
};

/// The backward pass of `Autodiff` treats zeros as special cases, and the derivative of what it computes
/// there is not that of the gradient. Reverse over forward is correct: `tests/zeros.rs`.
const AT_ZEROS: Bounds = Bounds { reach: Reach::Reverse, ..STRICT };

/// `Autodiff` rounds the reciprocal of the divisor to f32.
const DIV_SCALAR: Bounds = Bounds { adjoint: 1e-7, curvature: 1e-6, ..STRICT };

/// The kernel of wgpu reads, adds and writes in parallel: where indices repeat it may lose a term. Programs
/// add along one axis instead, in turn: `bilevel-bench/tests/backends.rs`.
const RACES: Bounds = on_wgpu(Bounds { reach: Reach::Nothing, ..STRICT });

/// As [`RACES`], in the backward pass.
const BACKWARD_RACES: Bounds = on_wgpu(FORWARD_ONLY);
