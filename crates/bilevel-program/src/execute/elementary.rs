//! Operations of one kind of tensor, mostly element by element, and activation functions.

use burn::backend::Backend;
use burn::backend::ir::{
    ActivationOperationIr as Activation, BoolOperationIr as Bool, FloatOperationIr as Float,
    HandleKind, IntOperationIr as Int,
};

use super::Run;

pub(super) fn float<B: Backend>(operation: &Float, run: &mut Run<'_, B>) {
    match operation {
        Float::Exp(o) => op!(run o: Float = float_exp(float input)),
        Float::Log(o) => op!(run o: Float = float_log(float input)),
        Float::Log1p(o) => op!(run o: Float = float_log1p(float input)),
        Float::Erf(o) => op!(run o: Float = float_erf(float input)),
        Float::PowfScalar(o) => op!(run o: Float = float_powf_scalar(float lhs; o.rhs.into())),
        Float::Sqrt(o) => op!(run o: Float = float_sqrt(float input)),
        Float::Cos(o) => op!(run o: Float = float_cos(float input)),
        Float::Cosh(o) => op!(run o: Float = float_cosh(float input)),
        Float::Sin(o) => op!(run o: Float = float_sin(float input)),
        Float::Sinh(o) => op!(run o: Float = float_sinh(float input)),
        Float::Tan(o) => op!(run o: Float = float_tan(float input)),
        Float::Tanh(o) => op!(run o: Float = float_tanh(float input)),
        Float::ArcCos(o) => op!(run o: Float = float_acos(float input)),
        Float::ArcCosh(o) => op!(run o: Float = float_acosh(float input)),
        Float::ArcSin(o) => op!(run o: Float = float_asin(float input)),
        Float::ArcSinh(o) => op!(run o: Float = float_asinh(float input)),
        Float::ArcTan(o) => op!(run o: Float = float_atan(float input)),
        Float::ArcTanh(o) => op!(run o: Float = float_atanh(float input)),
        Float::ArcTan2(o) => op!(run o: Float = float_atan2(float lhs, float rhs)),
        Float::Round(o) => op!(run o: Float = float_round(float input)),
        Float::Floor(o) => op!(run o: Float = float_floor(float input)),
        Float::Ceil(o) => op!(run o: Float = float_ceil(float input)),
        Float::Trunc(o) => op!(run o: Float = float_trunc(float input)),
        Float::IntoInt(o) => op!(run o: Int = float_into_int(float input; o.out.dtype.into())),
        Float::Matmul(o) => op!(run o: Float = float_matmul(float lhs, float rhs)),
        Float::Cross(o) => op!(run o: Float = float_cross(float lhs, float rhs; o.dim)),
        Float::Random(o) => {
            let (shape, dtype) = (o.out.shape.clone(), o.out.dtype.into());
            run.set_float(&o.out, B::float_random(shape, o.distribution, run.device, dtype));
        }
        Float::Recip(o) => op!(run o: Float = float_recip(float input)),
        Float::IsNan(o) => op!(run o: Bool = float_is_nan(float input; o.out.dtype.into())),
        Float::IsInf(o) => op!(run o: Bool = float_is_inf(float input; o.out.dtype.into())),
        Float::Quantize(_) | Float::Dequantize(_) => run.refused(),
        Float::GridSample2d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = float_grid_sample_2d(float tensor, float grid; options))
        }
        Float::Powf(o) => op!(run o: Float = float_powf(float lhs, float rhs)),
        Float::Hypot(o) => op!(run o: Float = float_hypot(float lhs, float rhs)),
    }
}

pub(super) fn int<B: Backend>(operation: &Int, run: &mut Run<'_, B>) {
    match operation {
        Int::IntoFloat(o) => op!(run o: Float = int_into_float(int input; o.out.dtype.into())),
        Int::Matmul(o) => op!(run o: Int = int_matmul(int lhs, int rhs)),
        Int::BitwiseAnd(o) => op!(run o: Int = bitwise_and(int lhs, int rhs)),
        Int::BitwiseAndScalar(o) => op!(run o: Int = bitwise_and_scalar(int lhs; o.rhs.into())),
        Int::BitwiseOr(o) => op!(run o: Int = bitwise_or(int lhs, int rhs)),
        Int::BitwiseOrScalar(o) => op!(run o: Int = bitwise_or_scalar(int lhs; o.rhs.into())),
        Int::BitwiseXor(o) => op!(run o: Int = bitwise_xor(int lhs, int rhs)),
        Int::BitwiseXorScalar(o) => op!(run o: Int = bitwise_xor_scalar(int lhs; o.rhs.into())),
        Int::BitwiseNot(o) => op!(run o: Int = bitwise_not(int input)),
        Int::BitwiseLeftShift(o) => op!(run o: Int = bitwise_left_shift(int lhs, int rhs)),
        Int::BitwiseLeftShiftScalar(o) => {
            op!(run o: Int = bitwise_left_shift_scalar(int lhs; o.rhs.into()))
        }
        Int::BitwiseRightShift(o) => op!(run o: Int = bitwise_right_shift(int lhs, int rhs)),
        Int::BitwiseRightShiftScalar(o) => {
            op!(run o: Int = bitwise_right_shift_scalar(int lhs; o.rhs.into()))
        }
    }
}

pub(super) fn bool<B: Backend>(operation: &Bool, run: &mut Run<'_, B>) {
    match operation {
        Bool::IntoFloat(o) => op!(run o: Float = bool_into_float(bool input; o.out.dtype.into())),
        Bool::IntoInt(o) => op!(run o: Int = bool_into_int(bool input; o.out.dtype.into())),
        Bool::Not(o) => op!(run o: Bool = bool_not(bool input)),
        Bool::And(o) => op!(run o: Bool = bool_and(bool lhs, bool rhs)),
        Bool::Or(o) => op!(run o: Bool = bool_or(bool lhs, bool rhs)),
        Bool::Xor(o) => op!(run o: Bool = bool_xor(bool lhs, bool rhs)),
    }
}

pub(super) fn activation<B: Backend>(operation: &Activation, run: &mut Run<'_, B>) {
    match operation {
        Activation::Relu(o) => op!(run o: Float = relu(float input)),
        // Backward passes of activations call the value they keep `lhs` and the gradient `rhs`.
        Activation::ReluBackward(o) => op!(run o: Float = relu_backward(float lhs, float rhs)),
        Activation::LeakyRelu(o) => op!(run o: Float = leaky_relu(float lhs; o.rhs.into())),
        Activation::PRelu(o) => op!(run o: Float = prelu(float lhs, float rhs)),
        Activation::Gelu(o) => op!(run o: Float = gelu(float input)),
        Activation::GeluBackward(o) => op!(run o: Float = gelu_backward(float lhs, float rhs)),
        Activation::Sigmoid(o) => op!(run o: Float = sigmoid(float input)),
        Activation::SigmoidBackward(o) => {
            op!(run o: Float = sigmoid_backward(float lhs, float rhs))
        }
        Activation::HardSigmoid(o) => {
            op!(run o: Float = hard_sigmoid(float tensor; o.alpha.into(), o.beta.into()))
        }
        Activation::LogSigmoid(o) => op!(run o: Float = log_sigmoid(float input)),
        Activation::LogSigmoidBackward(o) => {
            op!(run o: Float = log_sigmoid_backward(float lhs, float rhs))
        }
        Activation::Softmax(o) => op!(run o: Float = softmax(float input; o.axis)),
        Activation::LogSoftmax(o) => op!(run o: Float = log_softmax(float input; o.axis)),
        Activation::Softmin(o) => op!(run o: Float = softmin(float input; o.axis)),
    }
}
