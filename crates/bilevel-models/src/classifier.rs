//! A classifier of vectors, chosen at run time.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::{Mlp, MlpConfig, SoftmaxRegression, SoftmaxRegressionConfig};

/// One type for all classifiers, so that a problem is compiled only once.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a run")]
pub enum Classifier {
    /// Linear.
    Softmax(SoftmaxRegression),
    /// Fully connected.
    Mlp(Mlp),
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
    pub fn init(&self, device: &Device) -> Classifier {
        match self {
            Self::Softmax(config) => Classifier::Softmax(config.init(device)),
            Self::Mlp(config) => Classifier::Mlp(config.init(device)),
        }
    }
}

impl Classifier {
    /// The input of the last layer: the network's input itself if there is only one layer.
    ///
    /// # Shapes
    /// - input: `[n, inputs]`
    /// - output: `[n, features]`
    pub fn features(&self, input: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Softmax(_) => input,
            Self::Mlp(network) => network.features(input),
        }
    }

    /// The logits of samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, features]`
    /// - output: `[n, classes]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Softmax(network) => network.forward(features),
            Self::Mlp(network) => network.head(features),
        }
    }

    /// The logits.
    ///
    /// # Shapes
    /// - input: `[n, inputs]`
    /// - output: `[n, classes]`
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Softmax(network) => network.forward(input),
            Self::Mlp(network) => network.forward(input),
        }
    }
}
