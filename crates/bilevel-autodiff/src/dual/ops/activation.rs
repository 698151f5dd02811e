//! Activations: all of Burn's `ActivationOps`, including the backward kernels that `Autodiff` calls.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::backend::ops::ActivationOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Scalar, TensorMetadata, get_or_init_device_settings};

use crate::dual::tensor::{sum, unary};
use crate::dual::{Dual, DualTensor};

type F<B> = FloatTensor<Dual<B>>;
type T<B> = FloatTensor<B>;

impl<B: Backend> ActivationOps<Self> for Dual<B> {
    // `dx` where x > 0; zero at the kink, as in Burn's backward pass.
    fn relu(x: F<B>) -> F<B> {
        unary(x, B::relu, |_, y, dx| {
            let bools = get_or_init_device_settings::<B>(&y.device()).bool_dtype;
            B::float_mask_fill(dx, B::float_lower_equal_elem(y, 0.into(), bools), 0.into())
        })
    }

    // Linear in the gradient, piecewise constant in the output.
    fn relu_backward(output: F<B>, grad: F<B>) -> F<B> {
        DualTensor {
            primal: B::relu_backward(output.primal.clone(), grad.primal),
            tangent: grad.tangent.map(|dg| B::relu_backward(output.primal, dg)),
        }
    }

    fn leaky_relu(x: F<B>, slope: Scalar) -> F<B> {
        unary(
            x,
            |x| B::leaky_relu(x, slope),
            |x, _, dx| where_negative::<B>(x, dx.clone(), B::float_mul_scalar(dx, slope)),
        )
    }

    // x < 0: `alpha dx + x dalpha`, else `dx`.
    fn prelu(x: F<B>, alpha: F<B>) -> F<B> {
        let primal = B::prelu(x.primal.clone(), alpha.primal.clone());
        let tangent = if x.tangent.is_none() && alpha.tangent.is_none() {
            None
        } else {
            let negative = sum::<B>(
                x.tangent.clone().map(|dx| B::float_mul(dx, alpha.primal)),
                alpha.tangent.map(|da| B::float_mul(x.primal.clone(), da)),
            );
            let positive =
                x.tangent.unwrap_or_else(|| crate::dual::tensor::zeros_like::<B>(&x.primal));
            negative.map(|negative| where_negative::<B>(x.primal, positive, negative))
        };
        DualTensor { primal, tangent }
    }

    // y = x Phi(x) with the exact normal distribution function: `(Phi(x) + x phi(x)) dx`.
    fn gelu(x: F<B>) -> F<B> {
        unary(x, B::gelu, |x, _, dx| B::float_mul(dx, gelu_slope::<B>(x)))
    }

    // Burn's default is a tanh approximation with an error of 1e-4; this is the derivative of `gelu`.
    fn gelu_backward(x: F<B>, grad: F<B>) -> F<B> {
        let slope = gelu_slope::<B>(x.primal.clone());
        let along_x = x.tangent.map(|dx| {
            // d/dx (Phi + x phi) = (2 - x^2) phi
            let two_minus_square = B::float_add_scalar(
                B::float_neg(B::float_mul(x.primal.clone(), x.primal.clone())),
                2.into(),
            );
            let curvature = B::float_mul(two_minus_square, bell::<B>(x.primal));
            B::float_mul(B::float_mul(curvature, grad.primal.clone()), dx)
        });
        let along_grad = grad.tangent.map(|dg| B::float_mul(slope.clone(), dg));
        DualTensor {
            primal: B::float_mul(slope, grad.primal),
            tangent: sum::<B>(along_x, along_grad),
        }
    }

    // `y (1 - y) dx`.
    fn sigmoid(x: F<B>) -> F<B> {
        unary(x, B::sigmoid, |_, y, dx| B::float_mul(dx, logistic_slope::<B>(y)))
    }

    // g y (1 - y): `y (1 - y) dg + g (1 - 2 y) dy`.
    fn sigmoid_backward(output: F<B>, grad: F<B>) -> F<B> {
        let (y, g) = (output.primal, grad.primal);
        let along_grad = grad.tangent.map(|dg| B::sigmoid_backward(y.clone(), dg));
        let along_output = output.tangent.map(|dy| {
            let tilt = B::float_add_scalar(B::float_mul_scalar(y.clone(), (-2).into()), 1.into());
            B::float_mul(B::float_mul(tilt, g.clone()), dy)
        });
        DualTensor {
            primal: B::sigmoid_backward(y, g),
            tangent: sum::<B>(along_grad, along_output),
        }
    }

    // `alpha dx` where 0 < alpha x + beta < 1.
    fn hard_sigmoid(x: F<B>, alpha: Scalar, beta: Scalar) -> F<B> {
        unary(
            x,
            |x| B::hard_sigmoid(x, alpha, beta),
            |_, y, dx| {
                let bools = get_or_init_device_settings::<B>(&y.device()).bool_dtype;
                let low = B::float_lower_equal_elem(y.clone(), 0.into(), bools);
                let high = B::float_greater_equal_elem(y, 1.into(), bools);
                let dx = B::float_mask_fill(B::float_mul_scalar(dx, alpha), low, 0.into());
                B::float_mask_fill(dx, high, 0.into())
            },
        )
    }

    // `sigmoid(-x) dx`, with sigmoid(-x) = exp(y - x) since y = log sigmoid(x).
    fn log_sigmoid(x: F<B>) -> F<B> {
        unary(x, B::log_sigmoid, |x, y, dx| B::float_mul(dx, B::float_exp(B::float_sub(y, x))))
    }

    // g s with s = sigmoid(-x): `s dg - g s (1 - s) dx`.
    fn log_sigmoid_backward(x: F<B>, grad: F<B>) -> F<B> {
        let (x, dx, g) = (x.primal, x.tangent, grad.primal);
        let along_grad = grad.tangent.map(|dg| B::log_sigmoid_backward(x.clone(), dg));
        let along_x = dx.map(|dx| {
            let s = B::float_exp(B::float_sub(B::log_sigmoid(x.clone()), x.clone()));
            B::float_neg(B::float_mul(B::float_mul(logistic_slope::<B>(s), g.clone()), dx))
        });
        DualTensor { primal: B::log_sigmoid_backward(x, g), tangent: sum::<B>(along_grad, along_x) }
    }

    fn softmax(x: F<B>, dim: usize) -> F<B> {
        unary(x, |x| B::softmax(x, dim), |_, y, dx| softmax_push::<B>(y, dx, dim))
    }

    // `dx - sum(softmax(x) dx)`.
    fn log_softmax(x: F<B>, dim: usize) -> F<B> {
        unary(
            x,
            |x| B::log_softmax(x, dim),
            |_, y, dx| {
                let mean = B::float_sum_dim(B::float_mul(B::float_exp(y), dx.clone()), dim);
                B::float_sub(dx, mean)
            },
        )
    }

    fn softmin(x: F<B>, dim: usize) -> F<B> {
        unary(x, |x| B::softmin(x, dim), |_, y, dx| softmax_push::<B>(y, B::float_neg(dx), dim))
    }
}

/// `y (dx - sum(y dx))`.
fn softmax_push<B: Backend>(y: T<B>, dx: T<B>, dim: usize) -> T<B> {
    let mean = B::float_sum_dim(B::float_mul(y.clone(), dx.clone()), dim);
    B::float_mul(y, B::float_sub(dx, mean))
}

/// `y (1 - y)`, the slope of a logistic function with the value `y`.
fn logistic_slope<B: Backend>(y: T<B>) -> T<B> {
    B::float_mul(y.clone(), B::float_add_scalar(B::float_neg(y), 1.into()))
}

/// `negative` where x < 0, else `positive`.
fn where_negative<B: Backend>(x: T<B>, positive: T<B>, negative: T<B>) -> T<B> {
    let bools = get_or_init_device_settings::<B>(&x.device()).bool_dtype;
    B::float_mask_where(positive, B::float_lower_elem(x, 0.into(), bools), negative)
}

/// `Phi(x) + x phi(x)`.
fn gelu_slope<B: Backend>(x: T<B>) -> T<B> {
    let erf = B::float_erf(B::float_mul_scalar(x.clone(), FRAC_1_SQRT_2.into()));
    let phi = B::float_mul_scalar(B::float_add_scalar(erf, 1.into()), 0.5.into());
    B::float_add(phi, B::float_mul(x.clone(), bell::<B>(x)))
}

/// `phi(x) = exp(-x^2 / 2) / sqrt(2 pi)`.
fn bell<B: Backend>(x: T<B>) -> T<B> {
    let square = B::float_mul(x.clone(), x);
    let exp = B::float_exp(B::float_mul_scalar(square, (-0.5).into()));
    B::float_mul_scalar(exp, (2.0 * PI).sqrt().recip().into())
}
