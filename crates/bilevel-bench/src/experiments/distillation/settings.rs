//! Settings, and the methods of this experiment.

use bilevel_core::catalogue::{self, Entry, Family, Needs};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::experiments::networks::Plain;
use crate::settings::{
    Baseline, Chosen, Common, Count, LinearSystem, LowerLevel, Methods, UpperLevel,
};

/// The baselines of learned images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// random samples of each class
    Samples,
    /// the centres of k-means in each class
    KMeans,
}

impl Baseline for Reference {
    /// Excludes methods whose cost grows with the number of pixels or weights, those that learn the start, which is
    /// given, and `first-order`, which uses only F_x, which is 0.
    fn suits(entry: &Entry) -> bool {
        let unfit = ["fad", "rtho", "dense", "bda", "pbda", "ia-gm", "ia-gm-a", "first-order"];
        entry.family == Family::Hypergradient
            && entry.needs == Needs::Nothing
            && !unfit.contains(&entry.name)
    }
}

/// Where training on the images begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initialisation {
    /// At the same weights each time
    Fixed,
    /// At new random weights each time
    Random,
}

/// The labels of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// Equally many of each class, with certainty
    Fixed,
    /// Probabilities of all classes, learned with the images
    Learned,
}

/// The settings of distillation.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, optionally with their own settings, such as trad(truncated=5); or all
    #[arg(long)]
    pub method: Methods<Chosen<Reference>>,
    /// The network
    #[arg(long, value_enum)]
    pub network: Plain,
    /// Where training on the images begins
    #[arg(long, value_enum)]
    pub initialisation: Initialisation,
    /// The labels of the images
    #[arg(long, value_enum)]
    pub labels: Labels,
    /// Images of each class
    #[arg(long)]
    pub images: Count,
    /// Real training samples
    #[arg(long)]
    pub train: Count,
    /// Real samples per batch; an upper step uses one batch
    #[arg(long)]
    pub batch: Count,
    /// Random initialisations for testing
    #[arg(long)]
    pub trials: Count,
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
    /// The number of last lower steps through which trad goes back
    #[arg(long)]
    pub truncated: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Chosen<Reference>);
}

impl Settings {
    /// The settings of the catalogue of methods from these.
    pub fn of_methods(&self) -> catalogue::Settings {
        catalogue::Settings {
            truncated: self.truncated.get(),
            ..self.linear.of_methods(&self.lower, &self.upper)
        }
    }
}
