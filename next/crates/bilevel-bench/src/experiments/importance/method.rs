//! The methods of this experiment.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Baseline: train on the right labels and on the validation set
    Oracle,
    /// Baseline: train on the validation set
    ValOnly,
    /// Baseline: train on all labels, wrong ones included
    TrainVal,
    /// The lower gradient as a penalty
    Penalty,
    /// Implicit function theorem, by gradient descent on the linear system
    ApproxGrad,
    /// Back through all lower steps (reverse mode)
    Rad,
}

impl Method {
    /// What a run does where nothing is said: the columns of the paper's table.
    pub const DEFAULT: [Self; 5] =
        [Self::Oracle, Self::ValOnly, Self::TrainVal, Self::ApproxGrad, Self::Penalty];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Oracle => "oracle",
            Self::ValOnly => "val-only",
            Self::TrainVal => "train-val",
            Self::Penalty => "penalty",
            Self::ApproxGrad => "approx-grad",
            Self::Rad => "rad",
        }
    }
}
