//! A classifier of images, chosen at run time.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::{
    CellNetwork, CellNetworkConfig, Classifier, ClassifierConfig, Cnn, CnnConfig, ConvNet,
    ConvNetConfig, Mode, ResNet, ResNet12, ResNet12Config, ResNetConfig, WideResNet,
    WideResNetConfig,
};

/// One type for all image classifiers, so that a problem is compiled only once.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a run")]
pub enum ImageClassifier {
    /// A classifier of the flattened pixels.
    Flat(Classifier),
    /// Convolutions and a dense layer.
    Cnn(Cnn),
    /// Convolutions with normalisation.
    ConvNet(ConvNet),
    /// Residual.
    ResNet(ResNet),
    /// Residual, with max-pooling.
    ResNet12(ResNet12),
    /// Wide residual with pre-activation.
    WideResNet(WideResNet),
    /// Of cells.
    Cells(CellNetwork),
}

/// Builds an [`ImageClassifier`].
#[derive(Config, Debug)]
pub enum ImageClassifierConfig {
    /// A classifier of the flattened pixels.
    Flat(ClassifierConfig),
    /// Convolutions and a dense layer.
    Cnn(CnnConfig),
    /// Convolutions with normalisation.
    ConvNet(ConvNetConfig),
    /// Residual.
    ResNet(ResNetConfig),
    /// Residual, with max-pooling.
    ResNet12(ResNet12Config),
    /// Wide residual with pre-activation.
    WideResNet(WideResNetConfig),
    /// Of cells.
    Cells(CellNetworkConfig),
}

impl ImageClassifierConfig {
    /// The network on `device`.
    pub fn init(&self, device: &Device) -> ImageClassifier {
        match self {
            Self::Flat(config) => ImageClassifier::Flat(config.init(device)),
            Self::Cnn(config) => ImageClassifier::Cnn(config.init(device)),
            Self::ConvNet(config) => ImageClassifier::ConvNet(config.init(device)),
            Self::ResNet(config) => ImageClassifier::ResNet(config.init(device)),
            Self::ResNet12(config) => ImageClassifier::ResNet12(config.init(device)),
            Self::WideResNet(config) => ImageClassifier::WideResNet(config.init(device)),
            Self::Cells(config) => ImageClassifier::Cells(config.init(device)),
        }
    }
}

impl ImageClassifier {
    /// Whether it has batch normalisation, so that [`Mode::Evaluate`] needs statistics.
    pub fn is_normalised(&self) -> bool {
        match self {
            Self::Flat(_) | Self::Cnn(_) => false,
            Self::ConvNet(_)
            | Self::ResNet(_)
            | Self::ResNet12(_)
            | Self::WideResNet(_)
            | Self::Cells(_) => true,
        }
    }

    /// The input of the last layer.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, features]`
    pub fn features(&self, input: Tensor<4>) -> Tensor<2> {
        self.body(input, &mut Mode::Train)
    }

    /// The logits of samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, features]`
    /// - output: `[n, classes]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Flat(network) => network.head(features),
            Self::Cnn(network) => network.head(features),
            Self::ConvNet(network) => network.head(features),
            Self::ResNet(network) => network.head(features),
            Self::ResNet12(network) => network.head(features),
            Self::WideResNet(network) => network.head(features),
            Self::Cells(network) => network.head(features),
        }
    }

    /// The logits, in training mode.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, classes]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.forward_with(input, Mode::Train)
    }

    /// The logits, normalised with the statistics of `mode`. Shapes are those of [`Self::forward`].
    ///
    /// # Panics
    /// In [`Mode::Evaluate`], if the network normalises and no statistics were gathered for it.
    pub fn forward_with(&self, input: Tensor<4>, mut mode: Mode<'_>) -> Tensor<2> {
        match self {
            Self::Flat(network) => network.forward(input.flatten(1, 3)),
            _ => self.head(self.body(input, &mut mode)),
        }
    }

    fn body(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<2> {
        match self {
            Self::Flat(network) => network.features(input.flatten(1, 3)),
            Self::Cnn(network) => network.features(input),
            Self::ConvNet(network) => network.body(input, mode),
            Self::ResNet(network) => network.body(input, mode),
            Self::ResNet12(network) => network.body(input, mode),
            Self::WideResNet(network) => network.body(input, mode),
            Self::Cells(network) => network.body(input, mode),
        }
    }
}
