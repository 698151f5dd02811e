//! Groups of options that several experiments have, each under one name everywhere.

use std::path::PathBuf;

use bilevel_core::catalogue;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Count, NonNegative, Positive, StepSize, refuse};
use crate::backend::DeviceName;
use crate::error::BenchError;

/// The options of all experiments.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Common {
    /// Settings for a purpose, which override the defaults
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Seed of splits, noise and initial values
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Where to compute: auto, flex, ndarray, wgpu, cuda, rocm, or one of several GPUs, such as wgpu:1
    #[arg(long)]
    pub device: DeviceName,
    /// The folder with the data [default: the embedded digits]
    #[arg(long, value_parser = super::text_path())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
}

impl Common {
    /// # Errors
    /// If a folder of data is given but not read.
    pub fn refuse_data_dir(&self, expected: &str, cure: &'static str) -> Result<(), BenchError> {
        match &self.data_dir {
            Some(dir) => Err(refuse("--data-dir", dir.display(), expected, cure)),
            None => Ok(()),
        }
    }
}

/// The lower level.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LowerLevel {
    /// Lower steps T of a hypergradient, or between two upper steps
    #[arg(long)]
    pub lower_steps: Count,
    /// Step size of the lower level; or auto, the inverse of the measured curvature, where --method has auto
    #[arg(long)]
    pub step_size: StepSize,
}

/// The upper level.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UpperLevel {
    /// Upper steps
    #[arg(long)]
    pub upper_steps: Count,
    /// Learning rate of the upper level: of Adam along a hypergradient, of a plain step per sample otherwise
    #[arg(long)]
    pub learning_rate: Positive,
}

/// The linear system of an implicit method.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinearSystem {
    /// Maximal number of iterations of a linear solver
    #[arg(long)]
    pub solver_iterations: Count,
    /// Relative residual at which a linear solver stops
    #[arg(long)]
    pub tolerance: Positive,
    /// Damping of a linear system whose matrix is not positive definite
    #[arg(long)]
    pub damping: NonNegative,
}

impl LinearSystem {
    /// The settings of the catalogue of methods from these, with those of both levels; going back through all lower
    /// steps.
    pub fn of_methods(&self, lower: &LowerLevel, upper: &UpperLevel) -> catalogue::Settings {
        catalogue::Settings {
            lower_steps: lower.lower_steps.get(),
            step_size: lower.step_size.get(),
            learning_rate: upper.learning_rate.get(),
            truncated: lower.lower_steps.get(),
            solver_iterations: self.solver_iterations.get(),
            tolerance: self.tolerance.get(),
            damping: self.damping.get(),
            ..catalogue::Settings::default()
        }
    }
}

/// The number of samples used.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Split {
    /// Training samples
    #[arg(long)]
    pub train: Count,
    /// Validation samples
    #[arg(long)]
    pub validation: Count,
}
