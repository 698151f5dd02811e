//! Activation functions and their backward kernels.

use burn::backend::Scalar;
use burn::backend::ops::ActivationOps;

use super::T;
use crate::FastFlex;
use crate::functions;

impl ActivationOps<Self> for FastFlex {
    in_f32! {
        sigmoid: functions::sigmoid;
    }

    two! {
        relu_backward: |output, grad| if output <= 0.0 { 0.0 } else { grad };
        sigmoid_backward: |output, grad| grad * output * (1.0 - output);
    }

    fn relu(tensor: T) -> T {
        // NaN is preserved.
        one!(tensor, |a| if a <= 0.0 { 0.0 } else { a }, burn_flex::Flex::relu)
    }

    forward! {
        fn leaky_relu(tensor: T, negative_slope: Scalar) -> T;
        fn prelu(tensor: T, alpha: T) -> T;
        fn gelu(tensor: T) -> T;
        fn gelu_backward(x: T, grad: T) -> T;
        fn hard_sigmoid(tensor: T, alpha: Scalar, beta: Scalar) -> T;
        fn log_sigmoid(tensor: T) -> T;
        fn log_sigmoid_backward(x: T, grad: T) -> T;
        fn softmax(tensor: T, dim: usize) -> T;
    }
}
