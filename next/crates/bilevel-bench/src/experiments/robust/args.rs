//! The command line of both experiments.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::settings::{Method, NetworkName, NoiseName, Preset};
use crate::cli::Common;

/// The settings of `mwn` and `mlc`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Args {
    /// Settings for CIFAR, where nothing else is given
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Methods, separated by commas [default: all]
    #[arg(long = "method", value_enum, value_delimiter = ',')]
    pub methods: Vec<Method>,
    /// The network [default: resnet-8, in the preset paper that of the source]
    #[arg(long, value_enum)]
    pub network: Option<NetworkName>,
    /// How many times the first class is as large as the last, those between in geometric steps [default: 1]
    #[arg(long)]
    pub imbalance: Option<f64>,
    /// How labels are made wrong [default: uniform for mwn, flip for mlc; none where classes differ in size]
    #[arg(long, value_enum)]
    pub noise: Option<NoiseName>,
    /// The probability that a label is spoiled [default: 0.4]
    #[arg(long)]
    pub noise_rate: Option<f64>,
    /// Labels that people gave to the whole training set, an IDX file; for the noise human
    #[arg(long)]
    pub human_labels: Option<PathBuf>,
    /// Clean images of each class [default: 10]
    #[arg(long)]
    pub clean: Option<usize>,
    /// Images of a batch [default: 100]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Passes through the training set [default: 15]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Iterations at most [default: those of the passes]
    #[arg(long)]
    pub iterations: Option<usize>,
    /// The two passes, from 0, before which the step sizes fall to a tenth [default: after 4/5 and 9/10 of all]
    #[arg(long, num_args = 2)]
    pub falls: Vec<usize>,
    /// Step size of the network [default: 0.1]
    #[arg(long)]
    pub step_size: Option<f64>,
    /// Step size of what is learned beside it [default: 0.1 for mwn, 10 for mlc]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// Momentum of both [default: 0.9]
    #[arg(long)]
    pub momentum: Option<f64>,
    /// Weight decay of the network [default: 0.0005]
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Steps of each method that are timed before the run [default: 5]
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Test images that are looked at, drawn by the seed [default: all]
    #[arg(long)]
    pub test: Option<usize>,
    /// How often the test set is looked at during a run [default: 5]
    #[arg(long)]
    pub looks: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}
