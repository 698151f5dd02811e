//! Settings.

use bilevel_models::{
    ClassifierConfig, CnnConfig, ImageClassifierConfig, MlpConfig, SoftmaxRegressionConfig,
};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::Method;
use crate::error::BenchError;
use crate::settings::{
    Common, Count, LowerLevel, Methods, NonNegative, Positive, Share, Split, UpperLevel, refuse,
};
use bilevel_data::Dataset;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// Softmax regression
    Softmax,
    /// One hidden layer of 128 ReLU units
    Mlp,
    /// Two 5x5 convolutions of 32 and 64 channels and a dense layer of 128
    Cnn,
    /// Two 3x3 convolutions of 8 and 16 channels and a dense layer of 64
    Small,
}

impl NetworkName {
    /// The network for samples like those of `set`.
    pub fn config(self, set: &Dataset) -> ImageClassifierConfig {
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
    pub fn check(self, set: &Dataset) -> Result<(), BenchError> {
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

    /// The dimension of the widest layer for a sample of `set`.
    pub fn hidden(self, set: &Dataset) -> usize {
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

/// The settings of importance learning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, or all
    #[arg(long)]
    pub method: Methods<Method>,
    /// The network
    #[arg(long, value_enum)]
    pub network: NetworkName,
    /// Share of training labels that are made wrong
    #[arg(long)]
    pub noise: Share,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub split: Split,
    /// Samples per batch
    #[arg(long)]
    pub batch: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    /// The first penalty of penalty
    #[arg(long)]
    pub gamma: Positive,
    /// Step size of the linear system of approx-grad, by Adam
    #[arg(long)]
    pub solver_rate: Positive,
    /// Iterations of that system at each upper step
    #[arg(long)]
    pub solver_iterations: Count,
    /// Damping of that system
    #[arg(long)]
    pub damping: NonNegative,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);
}
