//! Settings.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Method;
use crate::settings::{Common, Count, LowerLevel, Methods, NonNegative, Positive, UpperLevel};

/// The settings of dictionary learning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, or all
    #[arg(long)]
    pub method: Methods<Method>,
    /// Atoms of the dictionary
    #[arg(long)]
    pub atoms: Count,
    /// Weight l1 of the 1-norm of codes
    #[arg(long)]
    pub sparsity: Positive,
    /// Weight l2 of the squared norm of codes
    #[arg(long)]
    pub ridge: NonNegative,
    /// Weight of the graph Laplacian, which draws the codes of neighbours together
    #[arg(long)]
    pub laplacian: NonNegative,
    /// Neighbours of an image in that graph
    #[arg(long)]
    pub neighbours: Count,
    /// Weight of the squared norm of the classifier
    #[arg(long)]
    pub decay: NonNegative,
    /// Training images
    #[arg(long)]
    pub train: Count,
    /// Images per batch
    #[arg(long)]
    pub batch: Count,
    /// Steps that learn the unsupervised atoms
    #[arg(long)]
    pub unsupervised_steps: Count,
    /// Steps of softmax regression, for baselines and for the initial classifier
    #[arg(long)]
    pub regression_steps: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    /// Maximal number of iterations of fixed-point
    #[arg(long)]
    pub solver_iterations: Count,
    /// Relative residual at which it stops
    #[arg(long)]
    pub tolerance: Positive,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);
}
