//! Activations and their backward kernels.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

use super::super::draw::{ANY, DISTINCT, Dice, Domain::Between, Input, input};
use super::super::{
    Autodiff, Bounds, Case, Dual, F32, Inner, On, Reach, STRICT, SecondOrder, but_on_flex, check,
    on_ndarray,
};
use super::SECOND_ORDER;
use crate::SUITE;

/// Two tensors of the same shape: the argument of a backward kernel, and the gradient of its output.
fn kernel(d: &mut Dice, domain: super::super::draw::Domain) -> Vec<Input> {
    let shape = [d.size(), d.size(), d.size()];
    vec![input(shape, domain), input(shape, ANY)]
}

table! {
    relu(x): |d| d.cube(DISTINCT) => B::relu(x);
    relu_backward(y, g): |d| kernel(d, DISTINCT) => B::relu_backward(y, g);
    leaky_relu(x): |d| d.cube(DISTINCT) => B::leaky_relu(x, 0.1.into());
    prelu(x, alpha): |d| {
        let shape = [d.size(), d.size(), d.size()];
        vec![input(shape, DISTINCT), input([1, shape[1], 1], ANY)]
    } => B::prelu(x, alpha);
    gelu(x): |d| d.cube(ANY) => B::gelu(x), GELU;
    gelu_backward(x, g): |d| kernel(d, ANY) => B::gelu_backward(x, g), GELU_BACKWARD;
    sigmoid(x): |d| d.cube(ANY) => B::sigmoid(x), on_ndarray(F32);
    sigmoid_backward(y, g): |d| kernel(d, Between(0.1, 0.9)) => B::sigmoid_backward(y, g);
    hard_sigmoid(x): |d| d.cube(DISTINCT) => B::hard_sigmoid(x, 1.0.into(), 0.45.into()), HARD_SIGMOID;
    log_sigmoid(x): |d| d.cube(ANY) => B::log_sigmoid(x);
    log_sigmoid_backward(x, g): |d| kernel(d, ANY) => B::log_sigmoid_backward(x, g);
    softmax(x): |d| d.cube(ANY) => B::softmax(x, 1);
    softmax_last(x): |d| d.cube(ANY) => B::softmax(x, 2);
    log_softmax(x): |d| d.cube(ANY) => B::log_softmax(x, 1);
    softmin(x): |d| d.cube(ANY) => B::softmin(x, 1);
}

/// Burn's default for the derivative, used by all backends except Flex, is an approximation.
const GELU: Bounds = but_on_flex(Bounds { adjoint: 1e-3, curvature: 1e-2, ..STRICT });

/// `Dual` computes the derivative exactly; `Autodiff` differentiates the approximation.
const GELU_BACKWARD: Bounds = Bounds {
    value: if matches!(SUITE.on, On::Flex) { 1e-15 } else { 1e-2 },
    differences: if matches!(SUITE.on, On::Flex) { 1e-7 } else { 1e-2 },
    reach: Reach::Forward,
    ..STRICT
};

/// `Autodiff` uses Burn's default in f32, and so does NdArray.
const HARD_SIGMOID: Bounds = Bounds {
    adjoint: 1e-6,
    differences: if matches!(SUITE.on, On::NdArray) { 1e-3 } else { 1e-7 },
    curvature: if matches!(SUITE.on, On::NdArray) { 1e-2 } else { 1e-3 },
    ..STRICT
};
