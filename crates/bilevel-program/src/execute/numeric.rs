//! Arithmetic, comparisons, reductions and orders, for floats and integers.

use burn::backend::Backend;
use burn::backend::ir::{HandleKind, NumericOperationIr as Numeric};

use super::Run;

pub(super) fn float<B: Backend>(operation: &Numeric, run: &mut Run<'_, B>) {
    match operation {
        Numeric::Add(o) => op!(run o: Float = float_add(float lhs, float rhs)),
        Numeric::AddScalar(o) => op!(run o: Float = float_add_scalar(float lhs; o.rhs.into())),
        Numeric::Sub(o) => op!(run o: Float = float_sub(float lhs, float rhs)),
        Numeric::SubScalar(o) => op!(run o: Float = float_sub_scalar(float lhs; o.rhs.into())),
        Numeric::Div(o) => op!(run o: Float = float_div(float lhs, float rhs)),
        Numeric::DivScalar(o) => op!(run o: Float = float_div_scalar(float lhs; o.rhs.into())),
        Numeric::Rem(o) => op!(run o: Float = float_remainder(float lhs, float rhs)),
        Numeric::RemScalar(o) => {
            op!(run o: Float = float_remainder_scalar(float lhs; o.rhs.into()))
        }
        Numeric::Mul(o) => op!(run o: Float = float_mul(float lhs, float rhs)),
        Numeric::MulScalar(o) => op!(run o: Float = float_mul_scalar(float lhs; o.rhs.into())),
        Numeric::Abs(o) => op!(run o: Float = float_abs(float input)),
        Numeric::Neg(o) => op!(run o: Float = float_neg(float input)),
        Numeric::Sign(o) => op!(run o: Float = float_sign(float input)),
        // The exponents of integer powers are integers.
        Numeric::Powi(o) => op!(run o: Float = float_powi(float lhs, int rhs)),
        Numeric::PowiScalar(o) => op!(run o: Float = float_powi_scalar(float lhs; o.rhs.into())),
        Numeric::Clamp(o) => {
            op!(run o: Float = float_clamp(float tensor; o.min.into(), o.max.into()))
        }
        Numeric::ClampMin(o) => op!(run o: Float = float_clamp_min(float lhs; o.rhs.into())),
        Numeric::ClampMax(o) => op!(run o: Float = float_clamp_max(float lhs; o.rhs.into())),
        Numeric::Full(o) => {
            let (shape, dtype) = (o.out.shape.clone(), o.out.dtype.into());
            run.set_float(&o.out, B::float_full(shape, o.value.into(), run.device, dtype));
        }
        Numeric::Pad(o) => op!(run o: Float = float_pad(float input; &o.padding, o.mode.into())),

        Numeric::Greater(o) => {
            op!(run o: Bool = float_greater(float lhs, float rhs; o.out.dtype.into()))
        }
        Numeric::GreaterElem(o) => {
            op!(run o: Bool = float_greater_elem(float lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Numeric::GreaterEqual(o) => {
            op!(run o: Bool = float_greater_equal(float lhs, float rhs; o.out.dtype.into()))
        }
        Numeric::GreaterEqualElem(o) => {
            op!(run o: Bool = float_greater_equal_elem(float lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Numeric::Lower(o) => {
            op!(run o: Bool = float_lower(float lhs, float rhs; o.out.dtype.into()))
        }
        Numeric::LowerElem(o) => {
            op!(run o: Bool = float_lower_elem(float lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Numeric::LowerEqual(o) => {
            op!(run o: Bool = float_lower_equal(float lhs, float rhs; o.out.dtype.into()))
        }
        Numeric::LowerEqualElem(o) => {
            op!(run o: Bool = float_lower_equal_elem(float lhs; o.rhs.into(), o.out.dtype.into()))
        }

        Numeric::Mean(o) => op!(run o: Float = float_mean(float input)),
        Numeric::MeanDim(o) => op!(run o: Float = float_mean_dim(float input; o.axis)),
        Numeric::Sum(o) => op!(run o: Float = float_sum(float input)),
        Numeric::SumDim(o) => op!(run o: Float = float_sum_dim(float input; o.axis)),
        Numeric::SumDims(o) => op!(run o: Float = float_sum_dims(float input; &o.axes)),
        Numeric::Prod(o) => op!(run o: Float = float_prod(float input)),
        Numeric::ProdDim(o) => op!(run o: Float = float_prod_dim(float input; o.axis)),
        Numeric::Max(o) => op!(run o: Float = float_max(float input)),
        Numeric::MaxDim(o) => op!(run o: Float = float_max_dim(float input; o.axis)),
        Numeric::Min(o) => op!(run o: Float = float_min(float input)),
        Numeric::MinDim(o) => op!(run o: Float = float_min_dim(float input; o.axis)),
        Numeric::MaxAbs(o) => op!(run o: Float = float_max_abs(float input)),
        Numeric::MaxAbsDim(o) => op!(run o: Float = float_max_abs_dim(float input; o.axis)),
        Numeric::CumSum(o) => op!(run o: Float = float_cumsum(float input; o.axis)),
        Numeric::CumProd(o) => op!(run o: Float = float_cumprod(float input; o.axis)),
        Numeric::CumMin(o) => op!(run o: Float = float_cummin(float input; o.axis)),
        Numeric::CumMax(o) => op!(run o: Float = float_cummax(float input; o.axis)),

        Numeric::ArgMax(o) => {
            op!(run o: Int = float_argmax(float input; o.axis, o.out.dtype.into()))
        }
        Numeric::ArgMin(o) => {
            op!(run o: Int = float_argmin(float input; o.axis, o.out.dtype.into()))
        }
        // The number that is kept is the length of the accumulator.
        Numeric::ArgTopK(o) => {
            let (k, dtype) = (o.accumulator_len, o.out.dtype.into());
            op!(run o: Int = float_argtopk(float input; o.axis, k, dtype))
        }
        Numeric::TopK(o) => op!(run o: Float = float_topk(float input; o.axis, o.accumulator_len)),
        Numeric::TopKWithIndices(o) => {
            let (tensor, dtype) = (run.float(&o.tensor), o.out_indices.dtype.into());
            let (values, indices) = B::float_topk_with_indices(tensor, o.dim, o.k, dtype);
            run.set_float(&o.out, values);
            run.set_int(&o.out_indices, indices);
        }
        Numeric::MaxDimWithIndices(o) => {
            let (tensor, dtype) = (run.float(&o.tensor), o.out_indices.dtype.into());
            let (values, indices) = B::float_max_dim_with_indices(tensor, o.dim, dtype);
            run.set_float(&o.out, values);
            run.set_int(&o.out_indices, indices);
        }
        Numeric::MinDimWithIndices(o) => {
            let (tensor, dtype) = (run.float(&o.tensor), o.out_indices.dtype.into());
            let (values, indices) = B::float_min_dim_with_indices(tensor, o.dim, dtype);
            run.set_float(&o.out, values);
            run.set_int(&o.out_indices, indices);
        }
        Numeric::Sort(o) => op!(run o: Float = float_sort(float input; o.dim, o.descending)),
        Numeric::SortWithIndices(o) => {
            let (tensor, dtype) = (run.float(&o.input), o.out_indices.dtype.into());
            let (values, indices) = B::float_sort_with_indices(tensor, o.dim, o.descending, dtype);
            run.set_float(&o.out, values);
            run.set_int(&o.out_indices, indices);
        }
        Numeric::ArgSort(o) => {
            op!(run o: Int = float_argsort(float input; o.dim, o.descending, o.out.dtype.into()))
        }
        // Random floats are a separate operation: nothing records this one on floats.
        Numeric::IntRandom(_) => run.refused(),
    }
}

pub(super) fn int<B: Backend>(operation: &Numeric, run: &mut Run<'_, B>) {
    match operation {
        Numeric::Add(o) => op!(run o: Int = int_add(int lhs, int rhs)),
        Numeric::AddScalar(o) => op!(run o: Int = int_add_scalar(int lhs; o.rhs.into())),
        Numeric::Sub(o) => op!(run o: Int = int_sub(int lhs, int rhs)),
        Numeric::SubScalar(o) => op!(run o: Int = int_sub_scalar(int lhs; o.rhs.into())),
        Numeric::Div(o) => op!(run o: Int = int_div(int lhs, int rhs)),
        Numeric::DivScalar(o) => op!(run o: Int = int_div_scalar(int lhs; o.rhs.into())),
        Numeric::Rem(o) => op!(run o: Int = int_remainder(int lhs, int rhs)),
        Numeric::RemScalar(o) => op!(run o: Int = int_remainder_scalar(int lhs; o.rhs.into())),
        Numeric::Mul(o) => op!(run o: Int = int_mul(int lhs, int rhs)),
        Numeric::MulScalar(o) => op!(run o: Int = int_mul_scalar(int lhs; o.rhs.into())),
        Numeric::Abs(o) => op!(run o: Int = int_abs(int input)),
        Numeric::Neg(o) => op!(run o: Int = int_neg(int input)),
        Numeric::Sign(o) => op!(run o: Int = int_sign(int input)),
        Numeric::Powi(o) => op!(run o: Int = int_powi(int lhs, int rhs)),
        Numeric::PowiScalar(o) => op!(run o: Int = int_powi_scalar(int lhs; o.rhs.into())),
        Numeric::Clamp(o) => op!(run o: Int = int_clamp(int tensor; o.min.into(), o.max.into())),
        Numeric::ClampMin(o) => op!(run o: Int = int_clamp_min(int lhs; o.rhs.into())),
        Numeric::ClampMax(o) => op!(run o: Int = int_clamp_max(int lhs; o.rhs.into())),
        Numeric::Full(o) => {
            let (shape, dtype) = (o.out.shape.clone(), o.out.dtype.into());
            run.set_int(&o.out, B::int_full(shape, o.value.into(), run.device, dtype));
        }
        Numeric::Pad(o) => op!(run o: Int = int_pad(int input; &o.padding, o.mode.into())),

        Numeric::Greater(o) => op!(run o: Bool = int_greater(int lhs, int rhs; o.out.dtype.into())),
        Numeric::GreaterElem(o) => {
            op!(run o: Bool = int_greater_elem(int lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Numeric::GreaterEqual(o) => {
            op!(run o: Bool = int_greater_equal(int lhs, int rhs; o.out.dtype.into()))
        }
        Numeric::GreaterEqualElem(o) => {
            op!(run o: Bool = int_greater_equal_elem(int lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Numeric::Lower(o) => op!(run o: Bool = int_lower(int lhs, int rhs; o.out.dtype.into())),
        Numeric::LowerElem(o) => {
            op!(run o: Bool = int_lower_elem(int lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Numeric::LowerEqual(o) => {
            op!(run o: Bool = int_lower_equal(int lhs, int rhs; o.out.dtype.into()))
        }
        Numeric::LowerEqualElem(o) => {
            op!(run o: Bool = int_lower_equal_elem(int lhs; o.rhs.into(), o.out.dtype.into()))
        }

        Numeric::Mean(o) => op!(run o: Int = int_mean(int input)),
        Numeric::MeanDim(o) => op!(run o: Int = int_mean_dim(int input; o.axis)),
        Numeric::Sum(o) => op!(run o: Int = int_sum(int input)),
        Numeric::SumDim(o) => op!(run o: Int = int_sum_dim(int input; o.axis)),
        // Backends sum floats over several dimensions at once, but not integers.
        Numeric::SumDims(o) => {
            let input = run.int(&o.input);
            run.set_int(&o.out, o.axes.iter().fold(input, |sum, &axis| B::int_sum_dim(sum, axis)));
        }
        Numeric::Prod(o) => op!(run o: Int = int_prod(int input)),
        Numeric::ProdDim(o) => op!(run o: Int = int_prod_dim(int input; o.axis)),
        Numeric::Max(o) => op!(run o: Int = int_max(int input)),
        Numeric::MaxDim(o) => op!(run o: Int = int_max_dim(int input; o.axis)),
        Numeric::Min(o) => op!(run o: Int = int_min(int input)),
        Numeric::MinDim(o) => op!(run o: Int = int_min_dim(int input; o.axis)),
        Numeric::MaxAbs(o) => op!(run o: Int = int_max_abs(int input)),
        Numeric::MaxAbsDim(o) => op!(run o: Int = int_max_abs_dim(int input; o.axis)),
        Numeric::CumSum(o) => op!(run o: Int = int_cumsum(int input; o.axis)),
        Numeric::CumProd(o) => op!(run o: Int = int_cumprod(int input; o.axis)),
        Numeric::CumMin(o) => op!(run o: Int = int_cummin(int input; o.axis)),
        Numeric::CumMax(o) => op!(run o: Int = int_cummax(int input; o.axis)),

        Numeric::ArgMax(o) => {
            let input = run.int(&o.input);
            run.set_positions(&o.out, B::int_argmax(input, o.axis));
        }
        Numeric::ArgMin(o) => {
            let input = run.int(&o.input);
            run.set_positions(&o.out, B::int_argmin(input, o.axis));
        }
        Numeric::ArgTopK(o) => {
            let input = run.int(&o.input);
            run.set_positions(&o.out, B::int_argtopk(input, o.axis, o.accumulator_len));
        }
        Numeric::TopK(o) => op!(run o: Int = int_topk(int input; o.axis, o.accumulator_len)),
        Numeric::TopKWithIndices(o) => {
            let tensor = run.int(&o.tensor);
            let (values, indices) = B::int_topk_with_indices(tensor, o.dim, o.k);
            run.set_int(&o.out, values);
            run.set_positions(&o.out_indices, indices);
        }
        Numeric::MaxDimWithIndices(o) => {
            let tensor = run.int(&o.tensor);
            let (values, indices) = B::int_max_dim_with_indices(tensor, o.dim);
            run.set_int(&o.out, values);
            run.set_positions(&o.out_indices, indices);
        }
        Numeric::MinDimWithIndices(o) => {
            let tensor = run.int(&o.tensor);
            let (values, indices) = B::int_min_dim_with_indices(tensor, o.dim);
            run.set_int(&o.out, values);
            run.set_positions(&o.out_indices, indices);
        }
        Numeric::Sort(o) => op!(run o: Int = int_sort(int input; o.dim, o.descending)),
        Numeric::SortWithIndices(o) => {
            let tensor = run.int(&o.input);
            let (values, indices) = B::int_sort_with_indices(tensor, o.dim, o.descending);
            run.set_int(&o.out, values);
            run.set_positions(&o.out_indices, indices);
        }
        Numeric::ArgSort(o) => {
            let input = run.int(&o.input);
            run.set_positions(&o.out, B::int_argsort(input, o.dim, o.descending));
        }
        Numeric::IntRandom(o) => {
            let (shape, dtype) = (o.out.shape.clone(), o.out.dtype.into());
            run.set_int(&o.out, B::int_random(shape, o.distribution, run.device, dtype));
        }
    }
}
