//! Derivatives of the elementary functions: each takes the input `x`, the output `y` and the tangent `dx`,
//! and returns `f'(x) dx`.
//!
//! They use only differentiable operations, so that reverse over forward can differentiate them once more.

use std::f64::consts::FRAC_2_SQRT_PI;

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor as T;

/// `1 / x`: `-y^2 dx`.
pub(super) fn recip<B: Backend>(_: T<B>, y: T<B>, dx: T<B>) -> T<B> {
    B::float_neg(B::float_mul(dx, square::<B>(y)))
}

/// `exp x`: `y dx`.
pub(super) fn exp<B: Backend>(_: T<B>, y: T<B>, dx: T<B>) -> T<B> {
    B::float_mul(dx, y)
}

/// `log x`: `dx / x`.
pub(super) fn log<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, x)
}

/// `log(1 + x)`: `dx / (1 + x)`.
pub(super) fn log1p<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, B::float_add_scalar(x, 1.into()))
}

/// `sqrt x`: `dx / (2 y)`.
pub(super) fn sqrt<B: Backend>(_: T<B>, y: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, B::float_mul_scalar(y, 2.into()))
}

/// `|x|`: `sign(x) dx`, zero at the kink.
pub(super) fn abs<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_mul(dx, B::float_sign(x))
}

/// `cos x`: `-sin(x) dx`.
pub(super) fn cos<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_neg(B::float_mul(dx, B::float_sin(x)))
}

/// `sin x`: `cos(x) dx`.
pub(super) fn sin<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_mul(dx, B::float_cos(x))
}

/// `tan x`: `(1 + y^2) dx`.
pub(super) fn tan<B: Backend>(_: T<B>, y: T<B>, dx: T<B>) -> T<B> {
    B::float_mul(dx, B::float_add_scalar(square::<B>(y), 1.into()))
}

/// `cosh x`: `sinh(x) dx`.
pub(super) fn cosh<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_mul(dx, B::float_sinh(x))
}

/// `sinh x`: `cosh(x) dx`.
pub(super) fn sinh<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_mul(dx, B::float_cosh(x))
}

/// `tanh x`: `(1 - y^2) dx`.
pub(super) fn tanh<B: Backend>(_: T<B>, y: T<B>, dx: T<B>) -> T<B> {
    B::float_mul(dx, one_minus::<B>(square::<B>(y)))
}

/// `acos x`: `-dx / sqrt(1 - x^2)`.
pub(super) fn acos<B: Backend>(x: T<B>, y: T<B>, dx: T<B>) -> T<B> {
    B::float_neg(asin::<B>(x, y, dx))
}

/// `asin x`: `dx / sqrt((1 - x)(1 + x))`; the factored form is accurate near the endpoints.
pub(super) fn asin<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, B::float_sqrt(one_minus_square::<B>(x)))
}

/// `acosh x`: `dx / sqrt((x - 1)(x + 1))`.
pub(super) fn acosh<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, B::float_sqrt(B::float_neg(one_minus_square::<B>(x))))
}

/// `asinh x`: `dx / sqrt(1 + x^2)`.
pub(super) fn asinh<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, B::float_sqrt(B::float_add_scalar(square::<B>(x), 1.into())))
}

/// `atan x`: `dx / (1 + x^2)`.
pub(super) fn atan<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, B::float_add_scalar(square::<B>(x), 1.into()))
}

/// `atanh x`: `dx / ((1 - x)(1 + x))`.
pub(super) fn atanh<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    B::float_div(dx, one_minus_square::<B>(x))
}

/// `erf x`: `2 / sqrt(pi) exp(-x^2) dx`.
pub(super) fn erf<B: Backend>(x: T<B>, _: T<B>, dx: T<B>) -> T<B> {
    let bell = B::float_exp(B::float_neg(square::<B>(x)));
    B::float_mul(dx, B::float_mul_scalar(bell, FRAC_2_SQRT_PI.into()))
}

fn square<B: Backend>(x: T<B>) -> T<B> {
    B::float_mul(x.clone(), x)
}

fn one_minus<B: Backend>(x: T<B>) -> T<B> {
    B::float_add_scalar(B::float_neg(x), 1.into())
}

fn one_minus_square<B: Backend>(x: T<B>) -> T<B> {
    B::float_mul(one_minus::<B>(x.clone()), B::float_add_scalar(x, 1.into()))
}
