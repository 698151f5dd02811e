//! Softmax regression.

use burn::config::Config;
use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// `logits = u W + b`: a convex problem with [`cross_entropy`](crate::cross_entropy).
#[derive(Module, Debug)]
pub struct SoftmaxRegression {
    linear: Linear,
}

/// Builds a [`SoftmaxRegression`], initialised to zeros.
#[derive(Config, Debug)]
pub struct SoftmaxRegressionConfig {
    /// Dimension of a sample.
    pub features: usize,
    /// Number of classes.
    pub classes: usize,
}

impl SoftmaxRegressionConfig {
    /// The network on `device`.
    pub fn init(&self, device: &Device) -> SoftmaxRegression {
        let linear = LinearConfig::new(self.features, self.classes)
            .with_initializer(Initializer::Zeros)
            .init(device);
        SoftmaxRegression { linear }
    }
}

impl SoftmaxRegression {
    /// Its layer.
    pub fn layer(&self) -> &Linear {
        &self.linear
    }

    /// The logits.
    ///
    /// # Shapes
    /// - input: `[n, features]`
    /// - output: `[n, classes]`
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.linear.forward(input)
    }

    /// The sum of the squares of W and b. Shape `[1]`.
    pub fn squared_norm(&self) -> Tensor<1> {
        let weights = self.linear.weight.val().powi_scalar(2).sum();
        match &self.linear.bias {
            Some(bias) => weights + bias.val().powi_scalar(2).sum(),
            None => weights,
        }
    }
}
