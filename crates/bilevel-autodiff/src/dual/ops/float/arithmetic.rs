//! Sums, quotients, powers and clamps.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor as T, IntTensor};
use burn::tensor::{Scalar, Shape, TensorMetadata, get_device_settings};

use crate::dual::DualTensor;
use crate::dual::tensor::sum;

/// `x + y`: `dx + dy`.
pub(super) fn add<B: Backend>(x: DualTensor<B>, y: DualTensor<B>) -> DualTensor<B> {
    let primal = B::float_add(x.primal, y.primal);
    let tangent = match (x.tangent, y.tangent) {
        (Some(dx), Some(dy)) => Some(B::float_add(dx, dy)),
        (dx, dy) => dx.or(dy).map(|d| spread::<B>(d, primal.shape())),
    };
    DualTensor { primal, tangent }
}

/// `x - y`: `dx - dy`.
pub(super) fn sub<B: Backend>(x: DualTensor<B>, y: DualTensor<B>) -> DualTensor<B> {
    let primal = B::float_sub(x.primal, y.primal);
    let tangent = match (x.tangent, y.tangent) {
        (Some(dx), Some(dy)) => Some(B::float_sub(dx, dy)),
        (dx, dy) => dx.or(dy.map(B::float_neg)).map(|d| spread::<B>(d, primal.shape())),
    };
    DualTensor { primal, tangent }
}

/// `q = x / y`: `(dx - q dy) / y`.
pub(super) fn div<B: Backend>(x: DualTensor<B>, y: DualTensor<B>) -> DualTensor<B> {
    let primal = B::float_div(x.primal, y.primal.clone());
    let moved = y.tangent.map(|dy| B::float_mul(primal.clone(), dy));
    let change = match (x.tangent, moved) {
        (Some(dx), Some(moved)) => Some(B::float_sub(dx, moved)),
        (dx, moved) => dx.or(moved.map(B::float_neg)),
    };
    let tangent = change.map(|change| B::float_div(change, y.primal));
    DualTensor { primal, tangent }
}

/// `x mod y = x - floor(x / y) y`: `dx - floor(x / y) dy`.
pub(super) fn remainder<B: Backend>(x: DualTensor<B>, y: DualTensor<B>) -> DualTensor<B> {
    let moved = y.tangent.map(|dy| {
        let turns = B::float_floor(B::float_div(x.primal.clone(), y.primal.clone()));
        B::float_neg(B::float_mul(turns, dy))
    });
    let primal = B::float_remainder(x.primal, y.primal);
    let tangent = match (x.tangent, moved) {
        (Some(dx), Some(moved)) => Some(B::float_add(dx, moved)),
        (dx, moved) => dx.or(moved).map(|d| spread::<B>(d, primal.shape())),
    };
    DualTensor { primal, tangent }
}

/// `p = x^y`: `y x^(y-1) dx + p log(x) dy`.
pub(super) fn powf<B: Backend>(x: DualTensor<B>, y: DualTensor<B>) -> DualTensor<B> {
    let primal = B::float_powf(x.primal.clone(), y.primal.clone());
    let base = x.tangent.map(|dx| {
        let lower =
            B::float_powf(x.primal.clone(), B::float_sub_scalar(y.primal.clone(), 1.into()));
        B::float_mul(B::float_mul(y.primal, lower), dx)
    });
    let exponent =
        y.tangent.map(|dy| B::float_mul(B::float_mul(primal.clone(), B::float_log(x.primal)), dy));
    DualTensor { primal, tangent: sum::<B>(base, exponent) }
}

/// `x^n` for integers `n`: `n x^(n-1) dx`.
pub(super) fn powi_push<B: Backend>(x: T<B>, n: IntTensor<B>, dx: T<B>) -> T<B> {
    let factor = B::int_into_float(n.clone(), x.dtype().into());
    let lower = B::float_powi(x, B::int_sub_scalar(n, 1.into()));
    B::float_mul(B::float_mul(lower, factor), dx)
}

/// `x^a` for a number `a`: `a x^(a-1) dx`.
pub(super) fn pow_push<B: Backend>(x: T<B>, a: Scalar, dx: T<B>) -> T<B> {
    let a: f64 = a.elem();
    if a == 0.0 {
        return B::float_mul_scalar(dx, 0.into());
    }
    if a == 1.0 {
        return dx;
    }
    let lower = if a == 2.0 { x } else { B::float_powf_scalar(x, (a - 1.0).into()) };
    B::float_mul(B::float_mul_scalar(lower, a.into()), dx)
}

/// `atan2(y, x)`: `(x dy - y dx) / (x^2 + y^2)`.
pub(super) fn atan2<B: Backend>(y: DualTensor<B>, x: DualTensor<B>) -> DualTensor<B> {
    let primal = B::float_atan2(y.primal.clone(), x.primal.clone());
    let turn = sum::<B>(
        y.tangent.map(|dy| B::float_mul(x.primal.clone(), dy)),
        x.tangent.map(|dx| B::float_neg(B::float_mul(y.primal.clone(), dx))),
    );
    let tangent = turn.map(|turn| {
        let square = |t: T<B>| B::float_mul(t.clone(), t);
        B::float_div(turn, B::float_add(square(x.primal), square(y.primal)))
    });
    DualTensor { primal, tangent }
}

/// The tangent of a clamp: `dx` within the bounds (at them too), zero beyond.
pub(super) fn inside<B: Backend>(
    x: T<B>,
    dx: T<B>,
    min: Option<Scalar>,
    max: Option<Scalar>,
) -> T<B> {
    let dtype = get_device_settings::<B>(&B::float_device(&x)).bool_dtype;
    let dx = match min {
        Some(min) => B::float_mask_fill(dx, B::float_lower_elem(x.clone(), min, dtype), 0.into()),
        None => dx,
    };
    match max {
        Some(max) => B::float_mask_fill(dx, B::float_greater_elem(x, max, dtype), 0.into()),
        None => dx,
    }
}

/// A tangent of one operand in the shape of a broadcast result.
fn spread<B: Backend>(d: T<B>, shape: Shape) -> T<B> {
    if d.shape() == shape { d } else { B::float_expand(d, shape) }
}
