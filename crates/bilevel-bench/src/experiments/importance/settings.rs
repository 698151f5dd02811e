//! Settings.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Method;
use crate::experiments::networks::Network;
use crate::settings::{
    Common, Count, LowerLevel, Methods, NonNegative, Positive, Share, Split, UpperLevel,
};

/// The settings of importance learning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, or all
    #[arg(long)]
    pub method: Methods<Method>,
    /// The network
    #[arg(long, value_enum)]
    pub network: Network,
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
    /// Test samples that are evaluated, drawn by the seed [default: all]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Count>,
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

impl Settings {
    /// Test samples that are evaluated at once.
    pub fn judged(&self) -> usize {
        self.batch.get().max(100)
    }
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);
}
