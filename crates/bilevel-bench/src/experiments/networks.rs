//! Networks for images, by the names that they have on the command line.

use std::sync::LazyLock;

use bilevel_models::{
    ClassifierConfig, CnnConfig, ImageClassifierConfig, MlpConfig, ResNetConfig,
    SoftmaxRegressionConfig, WideResNetConfig,
};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::BenchError;
use crate::settings::refuse;
use bilevel_data::Dataset;

/// A network without normalisation: what it computes for an image does not depend on the other images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plain {
    /// Softmax regression
    Softmax,
    /// One hidden layer of 128 ReLU units
    Mlp,
    /// Two 5x5 convolutions of 32 and 64 channels and a dense layer of 128
    Cnn,
    /// Two 3x3 convolutions of 8 and 16 channels and a dense layer of 64
    Small,
}

/// A residual network with batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Residual {
    /// Residual, 8 layers, 16 to 64 channels
    #[value(name = "resnet-8")]
    #[serde(rename = "resnet-8")]
    ResNet8,
    /// Residual, 20 layers, 16 to 64 channels
    #[value(name = "resnet-20")]
    #[serde(rename = "resnet-20")]
    ResNet20,
    /// Residual, 32 layers, 16 to 64 channels
    #[value(name = "resnet-32")]
    #[serde(rename = "resnet-32")]
    ResNet32,
    /// Residual, 18 layers, 64 to 512 channels
    #[value(name = "resnet-18")]
    #[serde(rename = "resnet-18")]
    ResNet18,
    /// Residual, 34 layers, 64 to 512 channels
    #[value(name = "resnet-34")]
    #[serde(rename = "resnet-34")]
    ResNet34,
    /// Residual, 50 layers in bottleneck blocks
    #[value(name = "resnet-50")]
    #[serde(rename = "resnet-50")]
    ResNet50,
    /// Residual, 101 layers in bottleneck blocks
    #[value(name = "resnet-101")]
    #[serde(rename = "resnet-101")]
    ResNet101,
    /// Residual, 152 layers in bottleneck blocks
    #[value(name = "resnet-152")]
    #[serde(rename = "resnet-152")]
    ResNet152,
    /// Wide residual, 10 layers, twice as wide
    #[value(name = "wrn-10-2")]
    #[serde(rename = "wrn-10-2")]
    Wrn10x2,
    /// Wide residual, 28 layers, ten times as wide
    #[value(name = "wrn-28-10")]
    #[serde(rename = "wrn-28-10")]
    Wrn28x10,
}

/// A network of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Network {
    /// Without normalisation.
    Plain(Plain),
    /// With it.
    Residual(Residual),
}

impl Plain {
    /// The network for images like those of `set`.
    pub fn config<P: Copy>(self, set: &Dataset<P>) -> ImageClassifierConfig {
        let (features, classes) = (set.features(), set.classes());
        let cnn = CnnConfig::new(set.shape(), classes);
        match self {
            Self::Softmax => ImageClassifierConfig::Flat(ClassifierConfig::Softmax(
                SoftmaxRegressionConfig::new(features, classes),
            )),
            Self::Mlp => ImageClassifierConfig::Flat(ClassifierConfig::Mlp(MlpConfig::new(vec![
                features, 128, classes,
            ]))),
            Self::Cnn => ImageClassifierConfig::Cnn(cnn),
            Self::Small => ImageClassifierConfig::Cnn(
                cnn.with_channels(vec![8, 16]).with_kernel(3).with_hidden(64),
            ),
        }
    }

    /// Whether the network takes images like those of `set`.
    ///
    /// # Errors
    /// If they are too small for its poolings.
    pub fn check<P: Copy>(self, set: &Dataset<P>) -> Result<(), BenchError> {
        let ImageClassifierConfig::Cnn(config) = self.config(set) else { return Ok(()) };
        let ([_, height, width], least) = (set.shape(), config.least_side());
        if height.min(width) >= least {
            return Ok(());
        }
        let name = self.to_possible_value().map_or(String::new(), |name| name.get_name().into());
        let found = format!("{name}, on images of {height}x{width}");
        let expected = format!("images of at least {least}x{least}, which its poolings halve");
        let cure = "take --network softmax or mlp, or larger images";
        Err(refuse("--network", found, &expected, cure))
    }

    /// The dimension of the widest layer for an image of `set`.
    pub fn hidden<P: Copy>(self, set: &Dataset<P>) -> usize {
        let [_, height, width] = set.shape();
        match self.config(set) {
            ImageClassifierConfig::Cnn(config) => {
                let first = config.channels.first().copied().unwrap_or(1);
                height * width * first
            }
            _ => 128.max(set.classes()),
        }
    }
}

impl Residual {
    /// The network for images like those of `set`.
    pub fn config<P: Copy>(self, set: &Dataset<P>) -> ImageClassifierConfig {
        use ImageClassifierConfig::{ResNet, WideResNet};
        let (channels, classes) = (set.shape()[0], set.classes());
        let wide = || WideResNetConfig::new(channels, classes);
        match self {
            Self::ResNet8 => ResNet(ResNetConfig::new(channels, classes).with_blocks(vec![1; 3])),
            Self::ResNet20 => ResNet(ResNetConfig::resnet20(channels, classes)),
            Self::ResNet32 => ResNet(ResNetConfig::resnet32(channels, classes)),
            Self::ResNet18 => ResNet(ResNetConfig::resnet18(channels, classes)),
            Self::ResNet34 => ResNet(ResNetConfig::resnet34(channels, classes)),
            Self::ResNet50 => ResNet(ResNetConfig::resnet50(channels, classes)),
            Self::ResNet101 => ResNet(ResNetConfig::resnet101(channels, classes)),
            Self::ResNet152 => ResNet(ResNetConfig::resnet152(channels, classes)),
            Self::Wrn10x2 => WideResNet(wide().with_blocks(1).with_widening(2)),
            Self::Wrn28x10 => WideResNet(WideResNetConfig::wrn_28_10(channels, classes)),
        }
    }

    /// The dimension of the widest layer for an image of `set`: that of the first block, where images have their full
    /// size.
    pub fn hidden<P: Copy>(self, set: &Dataset<P>) -> usize {
        let [_, height, width] = set.shape();
        let channels = match self {
            Self::ResNet8 | Self::ResNet20 | Self::ResNet32 => 16,
            Self::ResNet18 | Self::ResNet34 => 64,
            // Bottlenecks expand to four times as many channels.
            Self::ResNet50 | Self::ResNet101 | Self::ResNet152 => 256,
            Self::Wrn10x2 => 32,
            Self::Wrn28x10 => 160,
        };
        height * width * channels
    }
}

impl Network {
    /// The network for images like those of `set`.
    pub fn config<P: Copy>(self, set: &Dataset<P>) -> ImageClassifierConfig {
        match self {
            Self::Plain(network) => network.config(set),
            Self::Residual(network) => network.config(set),
        }
    }

    /// Whether the network takes images like those of `set`.
    ///
    /// # Errors
    /// Those of [`Plain::check`]; residual networks take images of any size.
    pub fn check<P: Copy>(self, set: &Dataset<P>) -> Result<(), BenchError> {
        match self {
            Self::Plain(network) => network.check(set),
            Self::Residual(_) => Ok(()),
        }
    }

    /// The dimension of the widest layer for an image of `set`.
    pub fn hidden<P: Copy>(self, set: &Dataset<P>) -> usize {
        match self {
            Self::Plain(network) => network.hidden(set),
            Self::Residual(network) => network.hidden(set),
        }
    }
}

impl ValueEnum for Network {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Network>> = LazyLock::new(|| {
            let plain = Plain::value_variants().iter().copied().map(Network::Plain);
            let residual = Residual::value_variants().iter().copied().map(Network::Residual);
            plain.chain(residual).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Plain(network) => network.to_possible_value(),
            Self::Residual(network) => network.to_possible_value(),
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_str(&name, false).map_err(|_| {
            let names = Self::value_variants().iter().filter_map(Self::to_possible_value);
            let names: Vec<_> = names.map(|value| format!("`{}`", value.get_name())).collect();
            D::Error::custom(format!(
                "unknown network `{name}`, expected one of {}",
                names.join(", ")
            ))
        })
    }
}
