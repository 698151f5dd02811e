//! Activation functions and their backward kernels.

use burn::tensor::Scalar;
use burn::tensor::ops::ActivationOps;

use super::T;
use crate::FastFlex;

impl ActivationOps<Self> for FastFlex {
    forward! {
        fn relu(tensor: T) -> T;
        fn relu_backward(output: T, grad: T) -> T;
        fn leaky_relu(tensor: T, negative_slope: Scalar) -> T;
        fn prelu(tensor: T, alpha: T) -> T;
        fn gelu(tensor: T) -> T;
        fn gelu_backward(x: T, grad: T) -> T;
        fn sigmoid(tensor: T) -> T;
        fn sigmoid_backward(output: T, grad: T) -> T;
        fn hard_sigmoid(tensor: T, alpha: Scalar, beta: Scalar) -> T;
        fn log_sigmoid(tensor: T) -> T;
        fn log_sigmoid_backward(x: T, grad: T) -> T;
        fn softmax(tensor: T, dim: usize) -> T;
    }
}
