//! The command line of this experiment.

use clap::Args as ClapArgs;

use super::settings::{Preset, ProblemName};
use crate::cli::Common;

/// The settings of hyperparameter optimisation.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Args {
    /// What is learned [default: digits]
    #[arg(long, value_enum)]
    pub problem: Option<ProblemName>,
    /// How large: all of the data, or minutes [default: paper]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Methods, separated by commas, or all [default: those that suit the problem, grid and random]
    #[arg(long = "method", value_delimiter = ',')]
    pub methods: Vec<String>,
    /// Oracle calls of each method, in calls of one batch [default: the problem's]
    #[arg(long)]
    pub calls: Option<u64>,
    /// Steps T of each training of a search [default: the problem's]
    #[arg(long)]
    pub steps: Option<usize>,
    /// Step size of the lower level [default: the problem's]
    #[arg(long)]
    pub step_size: Option<f64>,
    /// Step size of x, of methods along hypergradients that of Adam [default: the problem's]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Rows of a batch, for ijcnn1 and 20newsgroups [default: the problem's]
    #[arg(long)]
    pub batch: Option<usize>,
    /// The words of 20newsgroups that are used, the most frequent ones [default: all 130107]
    #[arg(long)]
    pub words: Option<usize>,
    /// How often the validation loss is measured [default: 20]
    #[arg(long)]
    pub rounds: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}
