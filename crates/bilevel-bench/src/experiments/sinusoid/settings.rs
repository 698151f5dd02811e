//! Settings.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Method;
use crate::error::BenchError;
use crate::settings::{Common, Count, LowerLevel, Methods, Positive, UpperLevel};

/// The settings of the regression of sinusoids.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, or all
    #[arg(long)]
    pub method: Methods<Method>,
    /// Support points per task, and as many query points
    #[arg(long)]
    pub shot: Count,
    /// Units of a hidden layer
    #[arg(long)]
    pub width: Count,
    /// Tasks per upper step
    #[arg(long)]
    pub meta_batch: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    /// Lower steps on a test task
    #[arg(long)]
    pub test_steps: Count,
    /// Test tasks at the end
    #[arg(long)]
    pub test_tasks: Count,
    /// The weight mu of mu/2 norm(y - x)^2 in imaml
    #[arg(long)]
    pub proximity: Positive,
    /// Iterations of the linear solver of imaml
    #[arg(long)]
    pub solver_iterations: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);

    fn check(&self) -> Result<(), BenchError> {
        self.common.refuse_data_dir("none: sinusoids are drawn by the seed", "leave it out")
    }
}
