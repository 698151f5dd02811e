//! Settings: what the command line gives, completed and checked.

use std::path::PathBuf;

use bilevel_models::{
    ClassifierConfig, CnnConfig, ImageClassifierConfig, MlpConfig, SoftmaxRegressionConfig,
};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Args, Method};
use crate::backend::BackendName;
use crate::data::Dataset;
use crate::error::BenchError;
use crate::settings::{check_counts, check_not_negative, check_positive, check_share};

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelName {
    /// Softmax regression
    Softmax,
    /// One hidden layer of 128 ReLU units
    Mlp,
    /// Two 5x5 convolutions of 32 and 64 channels and a dense layer of 128
    Cnn,
    /// Two 3x3 convolutions of 8 and 16 channels and a dense layer of 64
    Small,
}

impl ModelName {
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
}

/// Sizes and steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The sizes of the paper: all 60000 of MNIST, 1000 of them clean
    Paper,
    /// 5000 and 500 samples and a small network: minutes on two cores
    Small,
}

/// All settings of a run, as `settings.toml` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The folder of the data; none for the embedded digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The methods, in the order of the run.
    #[serde(rename = "method")]
    pub methods: Vec<Method>,
    /// The network.
    pub model: ModelName,
    /// Share of training labels made wrong.
    pub noise: f64,
    /// Training samples.
    pub train: usize,
    /// Validation samples.
    pub validation: usize,
    /// Samples of a batch.
    pub batch: usize,
    /// Lower steps T between two upper steps.
    pub steps: usize,
    /// Upper steps.
    pub upper_steps: usize,
    /// Lower step size.
    pub step_size: f64,
    /// Step size of a logit, per sample of a batch.
    pub learning_rate: f64,
    /// The first penalty.
    pub gamma: f64,
    /// Step size of the linear system, by Adam.
    pub linear_rate: f64,
    /// Its iterations at each upper step.
    pub linear_steps: usize,
    /// The damping of a Hessian that is not positive definite.
    pub damping: f64,
    /// The seed.
    pub seed: u64,
    /// The backend asked for.
    pub backend: BackendName,
}

impl Settings {
    /// Completes what the command line gives.
    ///
    /// # Errors
    /// If a setting is outside its range. Whether the data has enough samples is seen later.
    pub fn new(args: &Args) -> Result<Self, BenchError> {
        let common = &args.common;
        let preset = args.preset.or(common.data_dir.as_ref().map(|_| Preset::Small));
        let (model, [train, validation, batch], upper_steps) = match preset {
            None => (ModelName::Small, [1000, 100, 100], 100),
            Some(Preset::Small) => (ModelName::Small, [5000, 500, 100], 250),
            Some(Preset::Paper) => (ModelName::Cnn, [59_000, 1000, 200], 3000),
        };
        let methods =
            if args.methods.is_empty() { Method::DEFAULT.to_vec() } else { args.methods.clone() };
        let settings = Self {
            data_dir: common.data_dir.clone(),
            methods,
            model: args.model.unwrap_or(model),
            noise: args.noise.unwrap_or(0.25),
            train: args.train.unwrap_or(train),
            validation: args.validation.unwrap_or(validation),
            batch: args.batch.unwrap_or(batch),
            steps: args.steps.unwrap_or(20),
            upper_steps: args.upper_steps.unwrap_or(upper_steps),
            step_size: args.step_size.unwrap_or(0.1),
            learning_rate: args.learning_rate.unwrap_or(5.0),
            gamma: args.gamma.unwrap_or(0.3),
            linear_rate: args.linear_rate.unwrap_or(1e-3),
            linear_steps: args.linear_steps.unwrap_or(20),
            damping: args.damping.unwrap_or(0.01),
            seed: common.seed.unwrap_or(0),
            backend: common.backend.unwrap_or(BackendName::Auto),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), BenchError> {
        check_counts(&[
            ("--train", self.train),
            ("--validation", self.validation),
            ("--batch", self.batch),
            ("--steps", self.steps),
            ("--upper-steps", self.upper_steps),
            ("--linear-steps", self.linear_steps),
        ])?;
        check_not_negative("--damping", self.damping, "0.01 is common")?;
        check_positive(&[
            ("--step-size", self.step_size),
            ("--learning-rate", self.learning_rate),
            ("--gamma", self.gamma),
            ("--linear-rate", self.linear_rate),
        ])?;
        check_share("--noise", self.noise, "0.25 and 0.5 are the paper's")
    }
}
