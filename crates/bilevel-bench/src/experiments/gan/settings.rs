//! Settings, and the methods of this experiment.

use bilevel_core::catalogue::{self, Entry, Family, LowerDynamics, Needs};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::settings::{
    Baseline, Chosen, Common, Count, LinearSystem, LowerLevel, Methods, Share, UpperLevel,
};

/// The baseline of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// samples of the data itself
    Data,
}

impl Baseline for Reference {
    /// Excludes methods whose cost grows with the number of weights, and those that restart the discriminator.
    fn suits(entry: &Entry) -> bool {
        let unfit = ["fad", "rtho", "dense", "bda", "pbda", "ia-gm", "ia-gm-a", "iaptt"];
        [Family::Hypergradient, Family::Joint].contains(&entry.family)
            && entry.needs == Needs::Nothing
            && !unfit.contains(&entry.name)
    }
}

/// What the generator minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Game {
    /// How well its samples can be told from data
    NonSaturating,
    /// The negative loss of the discriminator
    MinMax,
}

/// The data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Eight Gaussians on a circle
    Ring,
    /// Images of digits: the embedded ones, or those of --data-dir
    Digits,
}

/// The steps of the discriminator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dynamics {
    /// Gradient descent
    Gd,
    /// Adam
    Adam,
}

/// The settings of adversarial learning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, optionally with their own settings, such as rad(lower-steps=5); or all
    #[arg(long)]
    pub method: Methods<Chosen<Reference>>,
    /// What the generator minimises
    #[arg(long, value_enum)]
    pub game: Game,
    /// The data
    #[arg(long, value_enum)]
    pub data: Source,
    /// The lower steps of rad, trad and first-order
    #[arg(long, value_enum)]
    pub dynamics: Dynamics,
    /// How many of these steps the discriminator keeps at each upper step, going on from the memory of its optimiser; the
    /// others look ahead [default: all, without a memory]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_steps: Option<Count>,
    /// b1 of Adam, at both levels
    #[arg(long)]
    pub momentum: Share,
    /// Samples of data and of the generator at each evaluation
    #[arg(long)]
    pub batch: Count,
    /// Dimension of the noise
    #[arg(long)]
    pub noise: Count,
    /// Units of a hidden layer: of two in the generator, of one in the discriminator
    #[arg(long)]
    pub hidden: Count,
    /// Samples per evaluation
    #[arg(long)]
    pub samples: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub linear: LinearSystem,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Chosen<Reference>);

    fn check(&self) -> Result<(), BenchError> {
        match self.data {
            Source::Digits => Ok(()),
            Source::Ring => {
                let expected = "--data digits, which alone reads it";
                self.common.refuse_data_dir(expected, "give both, or leave it out")
            }
        }
    }
}

impl Settings {
    /// The settings of the catalogue of methods from these.
    pub fn of_methods(&self) -> catalogue::Settings {
        catalogue::Settings {
            dynamics: match self.dynamics {
                Dynamics::Gd => LowerDynamics::Gd,
                Dynamics::Adam => LowerDynamics::Adam,
            },
            kept_steps: self.kept_steps.map_or(0, Count::get),
            momentum: self.momentum.get(),
            ..self.linear.of_methods(&self.lower, &self.upper)
        }
    }
}
