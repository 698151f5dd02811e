//! The command line of this experiment.

use clap::Args as ClapArgs;

use super::settings::{ModelName, Preset};
use crate::cli::Common;

/// The settings of hyper-cleaning.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Args {
    /// The settings of a paper, where nothing else is given
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Methods, separated by commas, or all [default: noisy,rad,cg,oracle]
    #[arg(long = "method", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// Lower steps T of each hypergradient [default: 100]
    #[arg(long)]
    pub steps: Option<usize>,
    /// Step size of the lower level [default: 1]
    #[arg(long)]
    pub step_size: Option<f64>,
    /// Upper steps [default: 150 for the digits, else 100]
    #[arg(long)]
    pub upper_steps: Option<usize>,
    /// Learning rate of the upper level (Adam); of methods that move x and y at once, per sample [default: 0.1]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// The classifier [default: softmax]
    #[arg(long, value_enum)]
    pub model: Option<ModelName>,
    /// Share of training labels made wrong [default: 0.5]
    #[arg(long)]
    pub noise: Option<f64>,
    /// Training samples [default: 500 of the digits, else 7000]
    #[arg(long)]
    pub train: Option<usize>,
    /// Validation samples [default: 500 of the digits, else 7000]
    #[arg(long)]
    pub validation: Option<usize>,
    /// The last lower steps, through which trad goes back [default: 25]
    #[arg(long)]
    pub truncated: Option<usize>,
    /// Weight of the upper loss in the first lower step of bda; it falls as 1/k [default: 0.5]
    #[arg(long)]
    pub aggregation: Option<f64>,
    /// Iterations of a linear solver at most [default: 50]
    #[arg(long)]
    pub iterations: Option<usize>,
    /// Relative residual at which a linear solver stops [default: 0.001]
    #[arg(long)]
    pub tolerance: Option<f64>,
    /// Damping of cg [default: 0.01]
    #[arg(long)]
    pub damping: Option<f64>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}
