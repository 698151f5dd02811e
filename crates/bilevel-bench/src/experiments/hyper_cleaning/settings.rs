//! Settings: what the command line gives, completed and checked.

use std::path::PathBuf;

use bilevel_models::{ClassifierConfig, MlpConfig, SoftmaxRegressionConfig};
use clap::ValueEnum;
use serde::Serialize;

use crate::backend::BackendName;
use crate::cli::HyperCleaningArgs;
use crate::data::Dataset;
use crate::data::split::SplitSizes;
use crate::error::BenchError;

/// A method of this experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MethodName {
    /// Baseline: train on everything.
    Noisy,
    /// Reverse-mode hypergradient through the lower steps.
    Rad,
    /// Implicit hypergradient, its linear system by conjugate gradients.
    Cg,
    /// Baseline: train on the right labels alone.
    Oracle,
}

impl MethodName {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noisy => "noisy",
            Self::Rad => "rad",
            Self::Cg => "cg",
            Self::Oracle => "oracle",
        }
    }

    /// What it does, in a line.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Noisy => "baseline: train on all labels, wrong ones included",
            Self::Rad => "hypergradient by back-propagation through the lower steps",
            Self::Cg => "hypergradient by the implicit function theorem and conjugate gradients",
            Self::Oracle => "baseline: train on the right labels alone",
        }
    }
}

/// A classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelName {
    /// Softmax regression.
    Softmax,
    /// One hidden layer of 300 ReLU units.
    Mlp,
}

impl ModelName {
    /// The network for samples like those of `set`.
    pub fn config(self, set: &Dataset) -> ClassifierConfig {
        let (features, classes) = (set.features(), set.classes());
        match self {
            Self::Softmax => {
                ClassifierConfig::Softmax(SoftmaxRegressionConfig::new(features, classes))
            }
            Self::Mlp => ClassifierConfig::Mlp(MlpConfig::new(vec![features, 300, classes])),
        }
    }
}

/// All settings of a run, as `settings.toml` has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The folder of the data; none for the embedded digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The methods, in the order of the run.
    #[serde(rename = "method")]
    pub methods: Vec<MethodName>,
    /// The classifier.
    pub model: ModelName,
    /// Share of training labels made wrong.
    pub noise: f64,
    /// Training samples.
    pub train: usize,
    /// Validation samples.
    pub validation: usize,
    /// Lower steps T.
    pub steps: usize,
    /// Lower step size.
    pub step_size: f64,
    /// Upper steps.
    pub upper_steps: usize,
    /// Adam's learning rate on the logits of the weights.
    pub learning_rate: f64,
    /// Products of cg at most.
    pub cg_iterations: usize,
    /// Relative residual at which cg stops.
    pub cg_tolerance: f64,
    /// Damping of cg.
    pub cg_damping: f64,
    /// The seed.
    pub seed: u64,
    /// The backend asked for.
    pub backend: BackendName,
}

impl Settings {
    /// Completes what the command line gives with defaults for its data.
    ///
    /// # Errors
    /// If a setting is outside its range. Whether the data has enough samples is seen later.
    pub fn new(args: &HyperCleaningArgs) -> Result<Self, BenchError> {
        let digits = args.data_dir.is_none();
        let sizes = if digits { SplitSizes::DIGITS } else { SplitSizes::BDA_MNIST };
        let methods = if args.methods.is_empty() {
            MethodName::value_variants().to_vec()
        } else {
            args.methods.clone()
        };
        let settings = Self {
            data_dir: args.data_dir.clone(),
            methods,
            model: args.model.unwrap_or(ModelName::Softmax),
            noise: args.noise.unwrap_or(0.5),
            train: args.train.unwrap_or(sizes.train),
            validation: args.validation.unwrap_or(sizes.validation),
            steps: args.steps.unwrap_or(100),
            step_size: args.step_size.unwrap_or(1.0),
            upper_steps: args.upper_steps.unwrap_or(if digits { 150 } else { 100 }),
            learning_rate: args.learning_rate.unwrap_or(0.1),
            cg_iterations: args.cg_iterations.unwrap_or(50),
            cg_tolerance: args.cg_tolerance.unwrap_or(1e-3),
            cg_damping: args.cg_damping.unwrap_or(0.01),
            seed: args.seed.unwrap_or(0),
            backend: args.backend.unwrap_or(BackendName::Auto),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), BenchError> {
        let counts = [
            ("--steps", self.steps),
            ("--upper-steps", self.upper_steps),
            ("--train", self.train),
            ("--validation", self.validation),
            ("--cg-iterations", self.cg_iterations),
        ];
        for (setting, value) in counts {
            if value == 0 {
                return Err(refuse(setting, value, "at least 1", "give a positive count"));
            }
        }
        let positive = [
            ("--step-size", self.step_size),
            ("--learning-rate", self.learning_rate),
            ("--cg-tolerance", self.cg_tolerance),
        ];
        for (setting, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(refuse(
                    setting,
                    value,
                    "a finite number above 0",
                    "give a positive value",
                ));
            }
        }
        if !(0.0..1.0).contains(&self.noise) {
            return Err(refuse(
                "--noise",
                self.noise,
                "a share in [0, 1)",
                "0.5 is half the labels",
            ));
        }
        if !(self.cg_damping.is_finite() && self.cg_damping >= 0.0) {
            let expected = "a finite number of at least 0";
            return Err(refuse("--cg-damping", self.cg_damping, expected, "0.01 is common"));
        }
        Ok(())
    }
}

fn refuse(
    setting: &'static str,
    found: impl ToString,
    expected: &str,
    cure: &'static str,
) -> BenchError {
    BenchError::Setting { setting, found: found.to_string(), expected: expected.into(), cure }
}
