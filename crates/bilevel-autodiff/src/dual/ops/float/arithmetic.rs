//! Sums, quotients, powers and clamps.

use burn::backend::tensor::{FloatTensor as T, IntTensor};
use burn::backend::{Backend, Scalar, Shape, TensorMetadata, get_or_init_device_settings};

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
///
/// The first term is 0 where y = 0, and the second where x = 0, instead of NaN from 0 times infinity.
pub(super) fn powf<B: Backend>(x: DualTensor<B>, y: DualTensor<B>) -> DualTensor<B> {
    let primal = B::float_powf(x.primal.clone(), y.primal.clone());
    if x.tangent.is_none() && y.tangent.is_none() {
        return DualTensor::constant(primal);
    }
    let a = spread::<B>(x.primal, primal.shape());
    let n = spread::<B>(y.primal, primal.shape());
    let base = x.tangent.map(|dx| {
        let lower = one_where_zero::<B>(a.clone(), n.clone());
        let lower = B::float_powf(lower, B::float_sub_scalar(n.clone(), 1.into()));
        B::float_mul(B::float_mul(n, lower), dx)
    });
    let exponent = y.tangent.map(|dy| {
        let log = B::float_log(one_where_zero::<B>(a.clone(), a));
        B::float_mul(B::float_mul(primal.clone(), log), dy)
    });
    DualTensor { primal, tangent: sum::<B>(base, exponent) }
}

/// `x^n` for integers `n`: `n x^(n-1) dx`, 0 where n = 0.
pub(super) fn powi_push<B: Backend>(x: T<B>, n: IntTensor<B>, dx: T<B>) -> T<B> {
    let factor = B::int_into_float(n.clone(), x.dtype().into());
    let base = one_where_zero::<B>(x.clone(), spread::<B>(factor.clone(), x.shape()));
    let lower = B::float_powi(base, B::int_sub_scalar(n, 1.into()));
    B::float_mul(B::float_mul(lower, factor), dx)
}

/// `x`, but 1 where `test` is 0. The mask is applied before a function that is infinite there, not after it,
/// so that the derivative of the tangent is finite too.
fn one_where_zero<B: Backend>(x: T<B>, test: T<B>) -> T<B> {
    let bools = get_or_init_device_settings::<B>(&x.device()).bool_dtype;
    B::float_mask_fill(x, B::float_equal_elem(test, 0.into(), bools), 1.into())
}

/// `x^a` for a scalar `a`: `a x^(a-1) dx`.
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

/// `h = hypot(x, y)`: `(x / h) dx + (y / h) dy`, 0 where `h` is 0. The quotients are at most 1, so nothing
/// overflows unless `hypot` itself does.
pub(super) fn hypot<B: Backend>(x: DualTensor<B>, y: DualTensor<B>) -> DualTensor<B> {
    let primal = B::float_hypot(x.primal.clone(), y.primal.clone());
    if x.tangent.is_none() && y.tangent.is_none() {
        return DualTensor::constant(primal);
    }
    let h = one_where_zero::<B>(primal.clone(), primal.clone());
    let along = |x: T<B>, dx: T<B>| B::float_mul(B::float_div(x, h.clone()), dx);
    let tangent =
        sum::<B>(x.tangent.map(|dx| along(x.primal, dx)), y.tangent.map(|dy| along(y.primal, dy)));
    DualTensor { primal, tangent }
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

/// The tangent of a clamp: `dx` within the bounds (and at them), zero beyond.
pub(super) fn inside<B: Backend>(
    x: T<B>,
    dx: T<B>,
    min: Option<Scalar>,
    max: Option<Scalar>,
) -> T<B> {
    let dtype = get_or_init_device_settings::<B>(&x.device()).bool_dtype;
    let dx = match min {
        Some(min) => B::float_mask_fill(dx, B::float_lower_elem(x.clone(), min, dtype), 0.into()),
        None => dx,
    };
    match max {
        Some(max) => B::float_mask_fill(dx, B::float_greater_elem(x, max, dtype), 0.into()),
        None => dx,
    }
}

/// The tangent of one operand, broadcast to the shape of the result.
fn spread<B: Backend>(d: T<B>, shape: Shape) -> T<B> {
    if d.shape() == shape { d } else { B::float_expand(d, shape) }
}
