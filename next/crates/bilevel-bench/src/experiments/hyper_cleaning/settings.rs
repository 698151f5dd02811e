//! Settings: what the command line gives, completed and checked.

use std::path::PathBuf;

use bilevel_models::{ClassifierConfig, MlpConfig, SoftmaxRegressionConfig};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Args;
use super::method::{self, Method};
use crate::backend::BackendName;
use crate::data::Dataset;
use crate::data::split::SplitSizes;
use crate::error::BenchError;
use crate::methods::{Linear, Tuning};
use crate::settings::{check_counts, check_not_negative, check_positive, check_share};

/// A classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
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

/// The settings of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// [BDA](https://arxiv.org/abs/2006.04045), Table 2: softmax regression, 7000 and 7000 samples
    Bda,
    /// [IAPTT-GM](https://arxiv.org/abs/2110.00455), Table 3: two layers, 5000 and 5000 samples
    Iaptt,
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
    /// The last lower steps, through which `trad` goes back.
    pub truncated: usize,
    /// Weight of F in the first lower step of `bda`.
    pub aggregation: f64,
    /// Iterations of a linear solver at most.
    pub iterations: usize,
    /// Relative residual at which a linear solver stops.
    pub tolerance: f64,
    /// Damping of `cg`.
    pub damping: f64,
    /// The seed.
    pub seed: u64,
    /// The backend asked for.
    pub backend: BackendName,
}

impl Settings {
    /// Completes what the command line gives: with a preset's settings, and defaults for its data.
    ///
    /// # Errors
    /// If a setting is outside its range, or a method unknown. Whether the data has enough samples is seen later.
    pub fn new(args: &Args) -> Result<Self, BenchError> {
        let common = &args.common;
        let digits = common.data_dir.is_none();
        let (sizes, model, methods) = match args.preset {
            None if digits => (SplitSizes::DIGITS, ModelName::Softmax, method::DEFAULT),
            None => (SplitSizes::BDA_MNIST, ModelName::Softmax, method::DEFAULT),
            Some(Preset::Bda) => {
                (SplitSizes::BDA_MNIST, ModelName::Softmax, &["rad", "trad", "bda"][..])
            }
            Some(Preset::Iaptt) => (
                SplitSizes { train: 5000, validation: 5000 },
                ModelName::Mlp,
                &["cg", "neumann", "rad", "trad", "bda", "iaptt"][..],
            ),
        };
        let names: Vec<&str> = match &args.methods[..] {
            [] => methods.to_vec(),
            [all] if all == "all" => method::names().collect(),
            given => given.iter().map(String::as_str).collect(),
        };
        // The papers leave step sizes open. The network's losses fall more steeply.
        let (step_size, damping) = match args.preset {
            Some(Preset::Iaptt) => (0.3, 0.1),
            _ => (1.0, 0.01),
        };
        // With so large a rate, twenty upper steps are as good as a hundred of 0.1.
        let (learning_rate, upper_steps) = match args.preset {
            Some(_) => (1.0, 20),
            None => (0.1, if digits { 150 } else { 100 }),
        };
        let settings = Self {
            data_dir: common.data_dir.clone(),
            methods: names.into_iter().map(Method::named).collect::<Result<_, _>>()?,
            model: args.model.unwrap_or(model),
            noise: args.noise.unwrap_or(0.5),
            train: args.train.unwrap_or(sizes.train),
            validation: args.validation.unwrap_or(sizes.validation),
            steps: args.steps.unwrap_or(100),
            step_size: args.step_size.unwrap_or(step_size),
            upper_steps: args.upper_steps.unwrap_or(upper_steps),
            learning_rate: args.learning_rate.unwrap_or(learning_rate),
            truncated: args.truncated.unwrap_or(25),
            aggregation: args.aggregation.unwrap_or(0.5),
            iterations: args.iterations.unwrap_or(50),
            tolerance: args.tolerance.unwrap_or(1e-3),
            damping: args.damping.unwrap_or(damping),
            seed: common.seed.unwrap_or(0),
            backend: common.backend.unwrap_or(BackendName::Auto),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), BenchError> {
        check_counts(&[
            ("--steps", self.steps),
            ("--upper-steps", self.upper_steps),
            ("--train", self.train),
            ("--validation", self.validation),
            ("--truncated", self.truncated),
            ("--iterations", self.iterations),
        ])?;
        check_positive(&[
            ("--step-size", self.step_size),
            ("--learning-rate", self.learning_rate),
            ("--tolerance", self.tolerance),
        ])?;
        check_share("--noise", self.noise, "0.5 is half the labels")?;
        check_share("--aggregation", self.aggregation, "0.5 is common")?;
        check_not_negative("--damping", self.damping, "0.01 is common")
    }

    /// What the table of methods makes of them.
    pub fn tuning(&self) -> Tuning {
        // F and f are means: a hypergradient's entry is of the order of 1 / n.
        let upper = self.learning_rate * self.train as f64;
        Tuning {
            upper,
            whole: upper,
            lower: self.step_size,
            steps: self.steps,
            truncated: self.truncated,
            aggregation: self.aggregation,
            linear: Linear {
                iterations: self.iterations,
                tolerance: self.tolerance,
                damping: self.damping,
                warm: false,
            },
            period: 1,
            perturbation: 0.5,
        }
    }
}
