//! A classifier of flat samples, chosen at run time.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::{Mlp, MlpConfig, SoftmaxRegression, SoftmaxRegressionConfig};

/// One type for all classifiers, so that a problem is compiled once and not once a network.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a run")]
pub enum Classifier<B: Backend> {
    /// Linear.
    Softmax(SoftmaxRegression<B>),
    /// Fully connected.
    Mlp(Mlp<B>),
}

/// Builds a [`Classifier`].
#[derive(Config, Debug)]
pub enum ClassifierConfig {
    /// Linear.
    Softmax(SoftmaxRegressionConfig),
    /// Fully connected.
    Mlp(MlpConfig),
}

impl ClassifierConfig {
    /// The network on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Classifier<B> {
        match self {
            Self::Softmax(config) => Classifier::Softmax(config.init(device)),
            Self::Mlp(config) => Classifier::Mlp(config.init(device)),
        }
    }
}

impl<B: Backend> Classifier<B> {
    /// The logits.
    ///
    /// # Shapes
    /// - input: `[n, features]`
    /// - output: `[n, classes]`
    pub fn forward(&self, input: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Softmax(network) => network.forward(input),
            Self::Mlp(network) => network.forward(input),
        }
    }
}
