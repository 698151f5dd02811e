//! The command line of this experiment.

use clap::Args as ClapArgs;

use super::Method;
use super::settings::{ModelName, Preset};
use crate::cli::Common;

/// The settings of importance learning.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Args {
    /// Sizes and steps, where nothing else is given [default: small for a folder]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Methods, separated by commas [default: oracle,val-only,train-val,approx-grad,penalty]
    #[arg(long = "method", value_delimiter = ',', value_enum)]
    pub methods: Vec<Method>,
    /// The network [default: small; cnn of the paper]
    #[arg(long, value_enum)]
    pub model: Option<ModelName>,
    /// Share of training labels made wrong [default: 0.25]
    #[arg(long)]
    pub noise: Option<f64>,
    /// Training samples [default: 1000 of the digits, 5000 of a folder, 59000 of the paper]
    #[arg(long)]
    pub train: Option<usize>,
    /// Validation samples [default: 100 of the digits, 500 of a folder, 1000 of the paper]
    #[arg(long)]
    pub validation: Option<usize>,
    /// Samples of a batch [default: 100, 200 of the paper]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Lower steps T between two upper steps [default: 20]
    #[arg(long)]
    pub steps: Option<usize>,
    /// Upper steps [default: 100 of the digits, 250 of a folder, 3000 of the paper]
    #[arg(long)]
    pub upper_steps: Option<usize>,
    /// Step size of the lower level [default: 0.1]
    #[arg(long)]
    pub step_size: Option<f64>,
    /// Step size of a weight's logit, per sample of a batch [default: 5]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// The first penalty of penalty [default: 0.3]
    #[arg(long)]
    pub gamma: Option<f64>,
    /// Step size of the linear system of approx-grad, by Adam [default: 0.001]
    #[arg(long)]
    pub linear_rate: Option<f64>,
    /// Iterations of that system at each upper step [default: 20]
    #[arg(long)]
    pub linear_steps: Option<usize>,
    /// Damping of approx-grad [default: 0.01]
    #[arg(long)]
    pub damping: Option<f64>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}
