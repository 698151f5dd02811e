//! Quantised operations and transactions: those of `B`.
//!
//! A quantised tensor is a constant. Rounding has no derivative, so quantising a float tensor with a tangent
//! panics with the name of the operation instead of dropping the tangent.

use burn::backend::ops::{
    QTensorOps, TransactionOps, TransactionPrimitive, TransactionPrimitiveData,
};
use burn::backend::quantization::QuantScheme;
use burn::backend::quantization::QuantizationParametersPrimitive;
use burn::backend::tensor::{BoolTensor, Device, FloatTensor, IntTensor, QuantizedTensor};
use burn::backend::{
    Backend, BoolDType, ExecutionError, FloatDType, IntDType, Scalar, Shape, Slice, TensorData,
    TensorPrimitive,
};

use crate::dual::tensor::no_tangent;
use crate::dual::{Dual, DualTensor};

/// Operations on quantised tensors whose result may be dequantised: it is then a constant.
macro_rules! forward_to_constant {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?);)*) => {
        $(fn $name($($arg: $ty),*) -> TensorPrimitive<Self> {
            constant(B::$name($($arg),*))
        })*
    };
}

fn constant<B: Backend>(tensor: TensorPrimitive<B>) -> TensorPrimitive<Dual<B>> {
    match tensor {
        TensorPrimitive::Float(x) => TensorPrimitive::Float(DualTensor::constant(x)),
        TensorPrimitive::QFloat(x) => TensorPrimitive::QFloat(x),
    }
}

fn primal<B: Backend>(tensor: TensorPrimitive<Dual<B>>, name: &str) -> TensorPrimitive<B> {
    match tensor {
        TensorPrimitive::Float(x) => TensorPrimitive::Float(no_tangent(x, name)),
        TensorPrimitive::QFloat(x) => TensorPrimitive::QFloat(x),
    }
}

impl<B: Backend> QTensorOps<Self> for Dual<B> {
    fn quantize(
        tensor: FloatTensor<Self>,
        scheme: &QuantScheme,
        qparams: QuantizationParametersPrimitive<Self>,
    ) -> QuantizedTensor<B> {
        let scales = no_tangent(qparams.scales, "quantize (scales)");
        let global = qparams.global.map(|global| no_tangent(global, "quantize (global scale)"));
        let qparams = QuantizationParametersPrimitive { scales, global };
        B::quantize(no_tangent(tensor, "quantize"), scheme, qparams)
    }

    fn quantize_dynamic(tensor: FloatTensor<Self>, scheme: &QuantScheme) -> QuantizedTensor<B> {
        B::quantize_dynamic(no_tangent(tensor, "quantize_dynamic"), scheme)
    }

    fn dequantize(tensor: QuantizedTensor<B>, dtype: FloatDType) -> FloatTensor<Self> {
        DualTensor::constant(B::dequantize(tensor, dtype))
    }

    fn q_matmul(lhs: TensorPrimitive<Self>, rhs: TensorPrimitive<Self>) -> TensorPrimitive<Self> {
        constant(B::q_matmul(primal(lhs, "q_matmul"), primal(rhs, "q_matmul")))
    }

    forward_to_constant! {
        fn q_add(lhs: QuantizedTensor<B>, rhs: QuantizedTensor<B>);
        fn q_add_scalar(lhs: QuantizedTensor<B>, rhs: Scalar);
        fn q_clamp_min(tensor: QuantizedTensor<B>, min: Scalar);
        fn q_clamp_max(tensor: QuantizedTensor<B>, max: Scalar);
        fn q_clamp(tensor: QuantizedTensor<B>, min: Scalar, max: Scalar);
        fn q_sub(lhs: QuantizedTensor<B>, rhs: QuantizedTensor<B>);
        fn q_sub_scalar(lhs: QuantizedTensor<B>, rhs: Scalar);
        fn q_mul(lhs: QuantizedTensor<B>, rhs: QuantizedTensor<B>);
        fn q_mul_scalar(lhs: QuantizedTensor<B>, rhs: Scalar);
        fn q_div(lhs: QuantizedTensor<B>, rhs: QuantizedTensor<B>);
        fn q_div_scalar(lhs: QuantizedTensor<B>, rhs: Scalar);
        fn q_neg(tensor: QuantizedTensor<B>);
        fn q_recip(tensor: QuantizedTensor<B>);
        fn q_sum(tensor: QuantizedTensor<B>);
        fn q_sum_dim(tensor: QuantizedTensor<B>, dim: usize);
        fn q_prod(tensor: QuantizedTensor<B>);
        fn q_prod_dim(tensor: QuantizedTensor<B>, dim: usize);
        fn q_mean(tensor: QuantizedTensor<B>);
        fn q_mean_dim(tensor: QuantizedTensor<B>, dim: usize);
        fn q_cumsum(tensor: QuantizedTensor<B>, dim: usize);
        fn q_cumprod(tensor: QuantizedTensor<B>, dim: usize);
        fn q_cummin(tensor: QuantizedTensor<B>, dim: usize);
        fn q_cummax(tensor: QuantizedTensor<B>, dim: usize);
        fn q_exp(tensor: QuantizedTensor<B>);
        fn q_log(tensor: QuantizedTensor<B>);
        fn q_log1p(tensor: QuantizedTensor<B>);
        fn q_powf(lhs: QuantizedTensor<B>, rhs: QuantizedTensor<B>);
        fn q_powi(lhs: QuantizedTensor<B>, rhs: IntTensor<B>);
        fn q_powi_scalar(lhs: QuantizedTensor<B>, rhs: Scalar);
        fn q_powf_scalar(tensor: QuantizedTensor<B>, value: Scalar);
        fn q_sqrt(tensor: QuantizedTensor<B>);
        fn q_cos(tensor: QuantizedTensor<B>);
        fn q_sin(tensor: QuantizedTensor<B>);
        fn q_tan(tensor: QuantizedTensor<B>);
        fn q_cosh(tensor: QuantizedTensor<B>);
        fn q_sinh(tensor: QuantizedTensor<B>);
        fn q_tanh(tensor: QuantizedTensor<B>);
        fn q_erf(tensor: QuantizedTensor<B>);
    }

    forward! {
        fn q_from_data(data: TensorData, device: &Device<B>) -> QuantizedTensor<B>;
        fn q_to_device(tensor: QuantizedTensor<B>, device: &Device<B>) -> QuantizedTensor<B>;
        fn q_reshape(tensor: QuantizedTensor<B>, shape: Shape) -> QuantizedTensor<B>;
        fn q_into_data(
            tensor: QuantizedTensor<B>,
        ) -> impl Future<Output = Result<TensorData, ExecutionError>> + Send;
        fn q_detach(tensor: QuantizedTensor<B>) -> QuantizedTensor<B>;
        fn q_set_require_grad(tensor: QuantizedTensor<B>, require_grad: bool) -> QuantizedTensor<B>;
        fn q_is_require_grad(tensor: &QuantizedTensor<B>) -> bool;
        fn q_expand(tensor: QuantizedTensor<B>, shape: Shape) -> QuantizedTensor<B>;
        fn q_transpose(tensor: QuantizedTensor<B>) -> QuantizedTensor<B>;
        fn q_swap_dims(tensor: QuantizedTensor<B>, dim1: usize, dim2: usize) -> QuantizedTensor<B>;
        fn q_permute(tensor: QuantizedTensor<B>, axes: &[usize]) -> QuantizedTensor<B>;
        fn q_flip(tensor: QuantizedTensor<B>, axes: &[usize]) -> QuantizedTensor<B>;
        fn q_select(
            tensor: QuantizedTensor<B>, dim: usize, indices: IntTensor<B>,
        ) -> QuantizedTensor<B>;
        fn q_slice(tensor: QuantizedTensor<B>, slices: &[Slice]) -> QuantizedTensor<B>;
        fn q_gather(
            dim: usize, tensor: QuantizedTensor<B>, indices: IntTensor<B>,
        ) -> QuantizedTensor<B>;
        fn q_repeat_dim(tensor: QuantizedTensor<B>, dim: usize, times: usize) -> QuantizedTensor<B>;
        fn q_abs(tensor: QuantizedTensor<B>) -> QuantizedTensor<B>;
        fn q_cat(tensors: Vec<QuantizedTensor<B>>, dim: usize) -> QuantizedTensor<B>;
        fn q_argmax(tensor: QuantizedTensor<B>, dim: usize, out_dtype: IntDType) -> IntTensor<B>;
        fn q_argtopk(
            tensor: QuantizedTensor<B>, dim: usize, k: usize, out_dtype: IntDType,
        ) -> IntTensor<B>;
        fn q_topk(tensor: QuantizedTensor<B>, dim: usize, k: usize) -> QuantizedTensor<B>;
        fn q_topk_with_indices(
            tensor: QuantizedTensor<B>, dim: usize, k: usize, out_dtype: IntDType,
        ) -> (QuantizedTensor<B>, IntTensor<B>);
        fn q_argmin(tensor: QuantizedTensor<B>, dim: usize, out_dtype: IntDType) -> IntTensor<B>;
        fn q_max(tensor: QuantizedTensor<B>) -> QuantizedTensor<B>;
        fn q_max_dim(tensor: QuantizedTensor<B>, dim: usize) -> QuantizedTensor<B>;
        fn q_max_dim_with_indices(
            tensor: QuantizedTensor<B>, dim: usize, out_dtype: IntDType,
        ) -> (QuantizedTensor<B>, IntTensor<B>);
        fn q_min(tensor: QuantizedTensor<B>) -> QuantizedTensor<B>;
        fn q_min_dim(tensor: QuantizedTensor<B>, dim: usize) -> QuantizedTensor<B>;
        fn q_min_dim_with_indices(
            tensor: QuantizedTensor<B>, dim: usize, out_dtype: IntDType,
        ) -> (QuantizedTensor<B>, IntTensor<B>);
        fn q_max_abs(tensor: QuantizedTensor<B>) -> QuantizedTensor<B>;
        fn q_max_abs_dim(tensor: QuantizedTensor<B>, dim: usize) -> QuantizedTensor<B>;
        fn q_any(tensor: QuantizedTensor<B>, out_dtype: BoolDType) -> BoolTensor<B>;
        fn q_any_dim(tensor: QuantizedTensor<B>, dim: usize, out_dtype: BoolDType) -> BoolTensor<B>;
        fn q_all(tensor: QuantizedTensor<B>, out_dtype: BoolDType) -> BoolTensor<B>;
        fn q_all_dim(tensor: QuantizedTensor<B>, dim: usize, out_dtype: BoolDType) -> BoolTensor<B>;
        fn q_sort(tensor: QuantizedTensor<B>, dim: usize, descending: bool) -> QuantizedTensor<B>;
        fn q_sort_with_indices(
            tensor: QuantizedTensor<B>, dim: usize, descending: bool, out_dtype: IntDType,
        ) -> (QuantizedTensor<B>, IntTensor<B>);
        fn q_argsort(
            tensor: QuantizedTensor<B>, dim: usize, descending: bool, out_dtype: IntDType,
        ) -> IntTensor<B>;
    }
}

impl<B: Backend> TransactionOps<Self> for Dual<B> {
    fn tr_execute(
        transaction: TransactionPrimitive<Self>,
    ) -> impl Future<Output = Result<TransactionPrimitiveData, ExecutionError>> + Send {
        B::tr_execute(TransactionPrimitive::new(
            transaction.read_floats.into_iter().map(|x| x.primal).collect(),
            transaction.read_qfloats,
            transaction.read_ints,
            transaction.read_bools,
        ))
    }
}
