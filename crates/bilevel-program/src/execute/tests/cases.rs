//! A call of every operation of a backend that is recorded as one, except for those of layers.

use burn::backend::ir::HandleKind;
use burn::backend::ops::{GridSampleOptions, InterpolateMode, PadMode};
use burn::backend::tensor::{BoolTensor, Device, FloatTensor, IndexingUpdateOp, IntTensor};
use burn::backend::{Backend, BoolDType, DType, FloatDType, IntDType, Shape, Slice, TensorData};

const F: FloatDType = FloatDType::F32;
const I: IntDType = IntDType::I64;
const T: BoolDType = BoolDType::U8;
const ADD: IndexingUpdateOp = IndexingUpdateOp::Add;

/// Makes inputs, the same on every backend, and gathers results.
pub(super) struct Cases<'a, B: Backend> {
    pub(super) device: &'a Device<B>,
    made: u32,
    pub(super) outputs: Vec<HandleKind<B>>,
}

impl<'a, B: Backend> Cases<'a, B> {
    pub(super) fn new(device: &'a Device<B>) -> Self {
        Self { device, made: 0, outputs: Vec::new() }
    }

    fn next(&mut self) -> f32 {
        self.made = self.made.wrapping_mul(1664525).wrapping_add(1013904223);
        (self.made >> 8) as f32 / (1 << 24) as f32
    }

    fn values(&mut self, shape: &[usize], low: f32, high: f32) -> TensorData {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| low + (high - low) * self.next()).collect();
        TensorData::new(values, shape.to_vec())
    }

    /// Floats of both signs.
    pub(super) fn f(&mut self, shape: &[usize]) -> FloatTensor<B> {
        let data = self.values(shape, -1.0, 1.0);
        B::float_from_data(data, self.device)
    }

    /// Positive floats, below one.
    pub(super) fn p(&mut self, shape: &[usize]) -> FloatTensor<B> {
        let data = self.values(shape, 0.1, 0.9);
        B::float_from_data(data, self.device)
    }

    /// Small integers, of which some repeat.
    pub(super) fn i(&mut self, shape: &[usize]) -> IntTensor<B> {
        let data = self.values(shape, 1.0, 9.0).convert::<i64>();
        B::int_from_data(data, self.device)
    }

    pub(super) fn b(&mut self, shape: &[usize]) -> BoolTensor<B> {
        let count = shape.iter().product();
        let values: Vec<bool> = (0..count).map(|_| self.next() < 0.5).collect();
        let data = TensorData::new(values, shape.to_vec()).convert_dtype(DType::Bool(T));
        B::bool_from_data(data, self.device)
    }

    /// The variables of a loss.
    pub(super) fn x(&mut self) -> FloatTensor<B> {
        self.f(&[3, 4])
    }

    /// These integers.
    pub(super) fn at(&mut self, values: &[i64], shape: &[usize]) -> IntTensor<B> {
        B::int_from_data(TensorData::new(values.to_vec(), shape.to_vec()), self.device)
    }
}

/// Keeps the results of calls; tensors among the arguments are created before the call.
macro_rules! keep {
    ($c:ident, $kind:ident: $($call:expr);* $(;)?) => {
        $( let value = $call; $c.outputs.push(HandleKind::$kind(value)); )*
    };
}
pub(super) use keep;

fn slices() -> [Slice; 2] {
    [Slice::new(1, Some(3), 1), Slice::new(0, Some(3), 2)]
}

pub(super) fn base_float<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Float:
        B::float_reshape(c.f(&[3, 4]), Shape::new([2, 6]));
        B::float_swap_dims(c.f(&[3, 4, 2]), 0, 2);
        B::float_permute(c.f(&[3, 4, 2]), &[1, 2, 0]);
        B::float_flip(c.f(&[3, 4]), &[0, 1]);
        B::float_expand(c.f(&[3, 1]), Shape::new([2, 3, 4]));
        B::float_unfold(c.f(&[3, 7]), 1, 3, 2);
        B::float_slice(c.f(&[3, 4]), &slices());
        B::float_slice_assign(c.f(&[3, 4]), &slices(), c.f(&[2, 2]));
        B::float_select(c.f(&[3, 4]), 0, c.at(&[2, 0, 2], &[3]));
        B::float_select_assign(c.f(&[3, 4]), 0, c.at(&[2, 0, 2], &[3]), c.f(&[3, 4]), ADD);
        B::float_gather(1, c.f(&[2, 3]), c.at(&[2, 0, 1, 1], &[2, 2]));
        B::float_scatter(1, c.f(&[2, 3]), c.at(&[2, 0, 1, 1], &[2, 2]), c.f(&[2, 2]), ADD);
        B::float_gather_nd(c.f(&[3, 4]), c.at(&[2, 0, 1, 1], &[2, 2]));
        B::float_scatter_nd(c.f(&[3, 4]), c.at(&[2, 0, 1, 1], &[2, 2]), c.f(&[2]), ADD);
        B::float_cast(c.f(&[3, 4]), FloatDType::F64);
        B::float_mask_where(c.f(&[3, 4]), c.b(&[3, 4]), c.f(&[3, 4]));
        B::float_mask_fill(c.f(&[3, 4]), c.b(&[3, 4]), 2.5.into());
        B::float_repeat_dim(c.f(&[3, 4]), 1, 3);
        B::float_cat(vec![c.f(&[3, 4]), c.f(&[2, 4])], 0);
        B::float_ones(Shape::new([2, 3]), c.device, F);
        B::float_zeros(Shape::new([2, 3]), c.device, F);
    );
    // The contents of an empty tensor are undefined: none of it is kept.
    let empty = B::float_empty(Shape::new([2, 3]), c.device, F);
    let part = B::float_slice(empty, &[Slice::new(0, Some(0), 1)]);
    keep!(c, Float: B::float_cat(vec![part, c.f(&[1, 3])], 0));
    keep!(c, Bool:
        B::float_equal(c.f(&[3, 4]), c.f(&[3, 4]), T);
        B::float_equal_elem(c.f(&[3, 4]), 0.0.into(), T);
        B::float_not_equal(c.f(&[3, 4]), c.f(&[3, 4]), T);
        B::float_not_equal_elem(c.f(&[3, 4]), 0.0.into(), T);
        B::float_all(c.f(&[3, 4]), T);
        B::float_all_dim(c.f(&[3, 4]), 1, T);
        B::float_any(c.f(&[3, 4]), T);
        B::float_any_dim(c.f(&[3, 4]), 1, T);
    );
    let same = c.f(&[3, 4]);
    keep!(c, Float: B::float_cat(vec![same.clone(), same.clone(), same], 0));
}

pub(super) fn base_int<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Int:
        B::int_reshape(c.i(&[3, 4]), Shape::new([2, 6]));
        B::int_swap_dims(c.i(&[3, 4, 2]), 0, 2);
        B::int_permute(c.i(&[3, 4, 2]), &[1, 2, 0]);
        B::int_flip(c.i(&[3, 4]), &[0, 1]);
        B::int_expand(c.i(&[3, 1]), Shape::new([2, 3, 4]));
        B::int_unfold(c.i(&[3, 7]), 1, 3, 2);
        B::int_slice(c.i(&[3, 4]), &slices());
        B::int_slice_assign(c.i(&[3, 4]), &slices(), c.i(&[2, 2]));
        B::int_select(c.i(&[3, 4]), 0, c.at(&[2, 0, 2], &[3]));
        B::int_select_assign(c.i(&[3, 4]), 0, c.at(&[2, 0, 2], &[3]), c.i(&[3, 4]), ADD);
        B::int_gather(1, c.i(&[2, 3]), c.at(&[2, 0, 1, 1], &[2, 2]));
        B::int_scatter(1, c.i(&[2, 3]), c.at(&[2, 0, 1, 1], &[2, 2]), c.i(&[2, 2]), ADD);
        B::int_gather_nd(c.i(&[3, 4]), c.at(&[2, 0, 1, 1], &[2, 2]));
        B::int_scatter_nd(c.i(&[3, 4]), c.at(&[2, 0, 1, 1], &[2, 2]), c.i(&[2]), ADD);
        B::int_cast(c.i(&[3, 4]), IntDType::I32);
        B::int_mask_where(c.i(&[3, 4]), c.b(&[3, 4]), c.i(&[3, 4]));
        B::int_mask_fill(c.i(&[3, 4]), c.b(&[3, 4]), 7.into());
        B::int_repeat_dim(c.i(&[3, 4]), 1, 3);
        B::int_cat(vec![c.i(&[3, 4]), c.i(&[2, 4])], 0);
        B::int_ones(Shape::new([2, 3]), c.device, I);
        B::int_zeros(Shape::new([2, 3]), c.device, I);
    );
    // The contents of an empty tensor are undefined: none of it is kept.
    let empty = B::int_empty(Shape::new([2, 3]), c.device, I);
    let part = B::int_slice(empty, &[Slice::new(0, Some(0), 1)]);
    keep!(c, Int: B::int_cat(vec![part, c.i(&[1, 3])], 0));
    keep!(c, Bool:
        B::int_equal(c.i(&[3, 4]), c.i(&[3, 4]), T);
        B::int_equal_elem(c.i(&[3, 4]), 3.into(), T);
        B::int_not_equal(c.i(&[3, 4]), c.i(&[3, 4]), T);
        B::int_not_equal_elem(c.i(&[3, 4]), 3.into(), T);
        B::int_all(c.i(&[3, 4]), T);
        B::int_all_dim(c.i(&[3, 4]), 1, T);
        B::int_any(c.i(&[3, 4]), T);
        B::int_any_dim(c.i(&[3, 4]), 1, T);
    );
    let same = c.i(&[3, 4]);
    keep!(c, Int: B::int_cat(vec![same.clone(), same.clone(), same], 0));
}

pub(super) fn base_bool<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Bool:
        B::bool_reshape(c.b(&[3, 4]), Shape::new([2, 6]));
        B::bool_swap_dims(c.b(&[3, 4, 2]), 0, 2);
        B::bool_permute(c.b(&[3, 4, 2]), &[1, 2, 0]);
        B::bool_flip(c.b(&[3, 4]), &[0, 1]);
        B::bool_expand(c.b(&[3, 1]), Shape::new([2, 3, 4]));
        B::bool_unfold(c.b(&[3, 7]), 1, 3, 2);
        B::bool_slice(c.b(&[3, 4]), &slices());
        B::bool_slice_assign(c.b(&[3, 4]), &slices(), c.b(&[2, 2]));
        B::bool_select(c.b(&[3, 4]), 0, c.at(&[2, 0, 2], &[3]));
        B::bool_select_or(c.b(&[3, 4]), 0, c.at(&[2, 0, 2], &[3]), c.b(&[3, 4]));
        B::bool_gather(1, c.b(&[2, 3]), c.at(&[2, 0, 1, 1], &[2, 2]));
        B::bool_scatter_or(1, c.b(&[2, 3]), c.at(&[2, 0, 1, 1], &[2, 2]), c.b(&[2, 2]));
        B::bool_mask_where(c.b(&[3, 4]), c.b(&[3, 4]), c.b(&[3, 4]));
        B::bool_mask_fill(c.b(&[3, 4]), c.b(&[3, 4]), true.into());
        B::bool_repeat_dim(c.b(&[3, 4]), 1, 3);
        B::bool_cat(vec![c.b(&[3, 4]), c.b(&[2, 4])], 0);
        B::bool_ones(Shape::new([2, 3]), c.device, T);
        B::bool_zeros(Shape::new([2, 3]), c.device, T);
    );
    // The contents of an empty tensor are undefined: none of it is kept.
    let empty = B::bool_empty(Shape::new([2, 3]), c.device, T);
    let part = B::bool_slice(empty, &[Slice::new(0, Some(0), 1)]);
    keep!(c, Bool: B::bool_cat(vec![part, c.b(&[1, 3])], 0));
    keep!(c, Bool:
        B::bool_equal(c.b(&[3, 4]), c.b(&[3, 4]));
        B::bool_equal_elem(c.b(&[3, 4]), true.into());
        B::bool_not_equal(c.b(&[3, 4]), c.b(&[3, 4]));
        B::bool_not_equal_elem(c.b(&[3, 4]), true.into());
        B::bool_all(c.b(&[3, 4]));
        B::bool_all_dim(c.b(&[3, 4]), 1);
        B::bool_any(c.b(&[3, 4]));
        B::bool_any_dim(c.b(&[3, 4]), 1);
    );
}

pub(super) fn numeric_float<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Float:
        B::float_add(c.f(&[3, 4]), c.f(&[3, 4]));
        B::float_add_scalar(c.f(&[3, 4]), 0.7.into());
        B::float_sub(c.f(&[3, 4]), c.f(&[3, 4]));
        B::float_sub_scalar(c.f(&[3, 4]), 0.7.into());
        B::float_div(c.f(&[3, 4]), c.f(&[3, 4]));
        B::float_div_scalar(c.f(&[3, 4]), 0.7.into());
        B::float_remainder(c.f(&[3, 4]), c.f(&[3, 4]));
        B::float_remainder_scalar(c.f(&[3, 4]), 0.7.into());
        B::float_mul(c.f(&[3, 4]), c.f(&[3, 4]));
        B::float_mul_scalar(c.f(&[3, 4]), 0.7.into());
        B::float_abs(c.f(&[3, 4]));
        B::float_neg(c.f(&[3, 4]));
        B::float_sign(c.f(&[3, 4]));
        B::float_powi_scalar(c.f(&[3, 4]), 3.into());
        B::float_clamp(c.f(&[3, 4]), (-0.5).into(), 0.5.into());
        B::float_clamp_min(c.f(&[3, 4]), 0.1.into());
        B::float_clamp_max(c.f(&[3, 4]), 0.1.into());
        B::float_full(Shape::new([2, 3]), 0.7.into(), c.device, F);
        B::float_pad(c.f(&[3, 4]), &[(1, 0), (2, 1)], PadMode::Constant(2.0));
        B::float_pad(c.f(&[3, 4]), &[(1, 0), (2, 1)], PadMode::Reflect);
        B::float_pad(c.f(&[3, 4]), &[(1, 0), (2, 1)], PadMode::Edge);
        B::float_mean(c.f(&[3, 4]));
        B::float_mean_dim(c.f(&[3, 4]), 1);
        B::float_sum(c.f(&[3, 4]));
        B::float_sum_dim(c.f(&[3, 4]), 1);
        B::float_prod(c.f(&[3, 4]));
        B::float_prod_dim(c.f(&[3, 4]), 1);
        B::float_max(c.f(&[3, 4]));
        B::float_max_dim(c.f(&[3, 4]), 1);
        B::float_min(c.f(&[3, 4]));
        B::float_min_dim(c.f(&[3, 4]), 1);
        B::float_max_abs(c.f(&[3, 4]));
        B::float_max_abs_dim(c.f(&[3, 4]), 1);
        B::float_sum_dims(c.f(&[3, 4, 2]), &[0, 2]);
        B::float_cumsum(c.f(&[3, 4]), 1);
        B::float_cumprod(c.f(&[3, 4]), 1);
        B::float_cummin(c.f(&[3, 4]), 1);
        B::float_cummax(c.f(&[3, 4]), 1);
        B::float_topk(c.f(&[3, 7]), 1, 3);
        B::float_sort(c.f(&[3, 7]), 1, true);
    );
    keep!(c, Bool:
        B::float_greater(c.f(&[3, 4]), c.f(&[3, 4]), T);
        B::float_greater_elem(c.f(&[3, 4]), 0.7.into(), T);
        B::float_greater_equal(c.f(&[3, 4]), c.f(&[3, 4]), T);
        B::float_greater_equal_elem(c.f(&[3, 4]), 0.7.into(), T);
        B::float_lower(c.f(&[3, 4]), c.f(&[3, 4]), T);
        B::float_lower_elem(c.f(&[3, 4]), 0.7.into(), T);
        B::float_lower_equal(c.f(&[3, 4]), c.f(&[3, 4]), T);
        B::float_lower_equal_elem(c.f(&[3, 4]), 0.7.into(), T);
    );
    keep!(c, Int:
        B::float_argmax(c.f(&[3, 7]), 1, IntDType::I32);
        B::float_argmin(c.f(&[3, 7]), 0, IntDType::I32);
        B::float_argtopk(c.f(&[3, 7]), 1, 3, IntDType::I32);
        B::float_argsort(c.f(&[3, 7]), 1, false, IntDType::I32);
    );
    let (values, indices) = B::float_max_dim_with_indices(c.f(&[3, 7]), 1, IntDType::I32);
    keep!(c, Float: values);
    keep!(c, Int: indices);
    let (values, indices) = B::float_min_dim_with_indices(c.f(&[3, 7]), 0, IntDType::I32);
    keep!(c, Float: values);
    keep!(c, Int: indices);
    let (values, indices) = B::float_topk_with_indices(c.f(&[3, 7]), 1, 3, IntDType::I32);
    keep!(c, Float: values);
    keep!(c, Int: indices);
    let (values, indices) = B::float_sort_with_indices(c.f(&[3, 7]), 1, true, IntDType::I32);
    keep!(c, Float: values);
    keep!(c, Int: indices);
    // One tensor on both sides, at its last use.
    let same = c.f(&[3, 4]);
    keep!(c, Float: B::float_mul(same.clone(), same));
}

pub(super) fn numeric_int<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Int:
        B::int_add(c.i(&[3, 4]), c.i(&[3, 4]));
        B::int_add_scalar(c.i(&[3, 4]), 3.into());
        B::int_sub(c.i(&[3, 4]), c.i(&[3, 4]));
        B::int_sub_scalar(c.i(&[3, 4]), 3.into());
        B::int_div(c.i(&[3, 4]), c.i(&[3, 4]));
        B::int_div_scalar(c.i(&[3, 4]), 3.into());
        B::int_remainder(c.i(&[3, 4]), c.i(&[3, 4]));
        B::int_remainder_scalar(c.i(&[3, 4]), 3.into());
        B::int_mul(c.i(&[3, 4]), c.i(&[3, 4]));
        B::int_mul_scalar(c.i(&[3, 4]), 3.into());
        B::int_abs(c.i(&[3, 4]));
        B::int_neg(c.i(&[3, 4]));
        B::int_sign(c.i(&[3, 4]));
        B::int_powi(c.i(&[2, 2]), c.at(&[2, 3, 0, 1], &[2, 2]));
        B::int_powi_scalar(c.i(&[3, 4]), 3.into());
        B::int_clamp(c.i(&[3, 4]), 2.into(), 5.into());
        B::int_clamp_min(c.i(&[3, 4]), 4.into());
        B::int_clamp_max(c.i(&[3, 4]), 4.into());
        B::int_full(Shape::new([2, 3]), 3.into(), c.device, I);
        B::int_pad(c.i(&[3, 4]), &[(1, 0), (2, 1)], PadMode::Constant(2.0));
        B::int_pad(c.i(&[3, 4]), &[(1, 0), (2, 1)], PadMode::Reflect);
        B::int_pad(c.i(&[3, 4]), &[(1, 0), (2, 1)], PadMode::Edge);
        B::int_mean(c.i(&[3, 4]));
        B::int_mean_dim(c.i(&[3, 4]), 1);
        B::int_sum(c.i(&[3, 4]));
        B::int_sum_dim(c.i(&[3, 4]), 1);
        B::int_prod(c.i(&[3, 4]));
        B::int_prod_dim(c.i(&[3, 4]), 1);
        B::int_max(c.i(&[3, 4]));
        B::int_max_dim(c.i(&[3, 4]), 1);
        B::int_min(c.i(&[3, 4]));
        B::int_min_dim(c.i(&[3, 4]), 1);
        B::int_max_abs(c.i(&[3, 4]));
        B::int_max_abs_dim(c.i(&[3, 4]), 1);
        B::int_cumsum(c.i(&[3, 4]), 1);
        B::int_cumprod(c.i(&[3, 4]), 1);
        B::int_cummin(c.i(&[3, 4]), 1);
        B::int_cummax(c.i(&[3, 4]), 1);
        B::int_topk(c.i(&[3, 7]), 1, 3);
        B::int_sort(c.i(&[3, 7]), 1, true);
    );
    keep!(c, Bool:
        B::int_greater(c.i(&[3, 4]), c.i(&[3, 4]), T);
        B::int_greater_elem(c.i(&[3, 4]), 3.into(), T);
        B::int_greater_equal(c.i(&[3, 4]), c.i(&[3, 4]), T);
        B::int_greater_equal_elem(c.i(&[3, 4]), 3.into(), T);
        B::int_lower(c.i(&[3, 4]), c.i(&[3, 4]), T);
        B::int_lower_elem(c.i(&[3, 4]), 3.into(), T);
        B::int_lower_equal(c.i(&[3, 4]), c.i(&[3, 4]), T);
        B::int_lower_equal_elem(c.i(&[3, 4]), 3.into(), T);
    );
    keep!(c, Int:
        B::int_argmax(c.i(&[3, 7]), 1);
        B::int_argmin(c.i(&[3, 7]), 0);
        B::int_argtopk(c.i(&[3, 7]), 1, 3);
        B::int_argsort(c.i(&[3, 7]), 1, false);
    );
    let (values, indices) = B::int_max_dim_with_indices(c.i(&[3, 7]), 1);
    keep!(c, Int: values);
    keep!(c, Int: indices);
    let (values, indices) = B::int_min_dim_with_indices(c.i(&[3, 7]), 0);
    keep!(c, Int: values);
    keep!(c, Int: indices);
    let (values, indices) = B::int_topk_with_indices(c.i(&[3, 7]), 1, 3);
    keep!(c, Int: values);
    keep!(c, Int: indices);
    let (values, indices) = B::int_sort_with_indices(c.i(&[3, 7]), 1, true);
    keep!(c, Int: values);
    keep!(c, Int: indices);
    // One tensor on both sides, at its last use.
    let same = c.i(&[3, 4]);
    keep!(c, Int: B::int_mul(same.clone(), same));
}

pub(super) fn float<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Float:
        B::float_exp(c.f(&[3, 4]));
        B::float_erf(c.f(&[3, 4]));
        B::float_cos(c.f(&[3, 4]));
        B::float_cosh(c.f(&[3, 4]));
        B::float_sin(c.f(&[3, 4]));
        B::float_sinh(c.f(&[3, 4]));
        B::float_tan(c.f(&[3, 4]));
        B::float_tanh(c.f(&[3, 4]));
        B::float_acos(c.f(&[3, 4]));
        B::float_asin(c.f(&[3, 4]));
        B::float_asinh(c.f(&[3, 4]));
        B::float_atan(c.f(&[3, 4]));
        B::float_atanh(c.f(&[3, 4]));
        B::float_round(c.f(&[3, 4]));
        B::float_floor(c.f(&[3, 4]));
        B::float_ceil(c.f(&[3, 4]));
        B::float_trunc(c.f(&[3, 4]));
        B::float_recip(c.f(&[3, 4]));
        B::float_log(c.p(&[3, 4]));
        B::float_log1p(c.p(&[3, 4]));
        B::float_sqrt(c.p(&[3, 4]));
        B::float_acosh(B::float_add_scalar(c.p(&[3, 4]), 1.0.into()));
        B::float_powf_scalar(c.p(&[3, 4]), 1.7.into());
        B::float_powf(c.p(&[3, 4]), c.f(&[3, 4]));
        B::float_atan2(c.f(&[3, 4]), c.f(&[3, 4]));
        B::float_hypot(c.f(&[3, 4]), c.f(&[3, 4]));
        B::float_matmul(c.f(&[2, 3, 4]), c.f(&[2, 4, 5]));
        B::float_cross(c.f(&[4, 3]), c.f(&[4, 3]), 1);
    );
    let bilinear = GridSampleOptions::new(InterpolateMode::Bilinear);
    let (image, grid) = (c.f(&[1, 2, 4, 4]), c.f(&[1, 3, 3, 2]));
    keep!(c, Float: B::float_grid_sample_2d(image, grid, bilinear));
    keep!(c, Int: B::float_into_int(c.f(&[3, 4]), IntDType::I32));
    let zero = B::float_zeros(Shape::new([3]), c.device, F);
    let (nan, inf) = (B::float_div(zero.clone(), zero.clone()), B::float_recip(zero));
    keep!(c, Bool: B::float_is_nan(nan, T); B::float_is_inf(inf, T));
}

pub(super) fn int<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Int:
        B::bitwise_and(c.i(&[3, 4]), c.i(&[3, 4]));
        B::bitwise_or(c.i(&[3, 4]), c.i(&[3, 4]));
        B::bitwise_xor(c.i(&[3, 4]), c.i(&[3, 4]));
        B::bitwise_left_shift(c.i(&[3, 4]), c.i(&[3, 4]));
        B::bitwise_right_shift(c.i(&[3, 4]), c.i(&[3, 4]));
        B::bitwise_and_scalar(c.i(&[3, 4]), 3.into());
        B::bitwise_or_scalar(c.i(&[3, 4]), 3.into());
        B::bitwise_xor_scalar(c.i(&[3, 4]), 3.into());
        B::bitwise_left_shift_scalar(c.i(&[3, 4]), 3.into());
        B::bitwise_right_shift_scalar(c.i(&[3, 4]), 3.into());
        B::bitwise_not(c.i(&[3, 4]));
        B::int_matmul(c.i(&[3, 4]), c.i(&[4, 2]));
        B::int_arange(2..9, c.device, IntDType::I64);
    );
    keep!(c, Float: B::int_into_float(c.i(&[3, 4]), FloatDType::F64));
}

pub(super) fn bool<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Bool:
        B::bool_not(c.b(&[3, 4]));
        B::bool_and(c.b(&[3, 4]), c.b(&[3, 4]));
        B::bool_or(c.b(&[3, 4]), c.b(&[3, 4]));
        B::bool_xor(c.b(&[3, 4]), c.b(&[3, 4]));
    );
    keep!(c, Float: B::bool_into_float(c.b(&[3, 4]), FloatDType::F64));
    keep!(c, Int: B::bool_into_int(c.b(&[3, 4]), IntDType::I32));
}
