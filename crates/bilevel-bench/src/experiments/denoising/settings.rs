//! Settings, and the methods of this experiment.

use bilevel_core::catalogue::{self, Entry, Family, Needs};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::Potential;
use crate::error::BenchError;
use crate::settings::{
    Baseline, Chosen, Common, Count, LinearSystem, LowerLevel, Methods, Positive, UpperLevel,
    refuse,
};

/// The baselines of a learned prior.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// the noisy image
    Noisy,
    /// total variation, with the best weight on training images
    Tv,
}

impl Baseline for Reference {
    /// Excludes methods that pass y of one batch on to the next, or learn its start; those whose cost grows with the
    /// number of variables; and `first-order`, which uses only F_x, which is 0.
    fn suits(entry: &Entry) -> bool {
        let unfit =
            ["fad", "rtho", "dense", "bda", "pbda", "ia-gm", "ia-gm-a", "iaptt", "first-order"];
        entry.family == Family::Hypergradient
            && entry.needs == Needs::Nothing
            && !unfit.contains(&entry.name)
    }
}

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Learn {
    /// The weights of the filters of the cosine transform
    Weights,
    /// The weights and the filters
    Filters,
}

/// The settings of denoising.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, optionally with their own settings, such as cg(damping=0.1); or all
    #[arg(long)]
    pub method: Methods<Chosen<Reference>>,
    /// What is learned
    #[arg(long, value_enum)]
    pub learn: Learn,
    /// The function of a filter's response
    #[arg(long, value_enum)]
    pub potential: Potential,
    /// The scale below which that function is smooth, in standard deviations of the noise
    #[arg(long)]
    pub smoothing: Positive,
    /// Side of a filter in pixels; there are side^2 - 1 filters
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=11))]
    pub side: u8,
    /// Weight of every filter at the start
    #[arg(long)]
    pub weight: Positive,
    /// Standard deviation of the noise, of 255 grey levels
    #[arg(long)]
    pub noise: Positive,
    /// Side of a crop of a training image in pixels
    #[arg(long)]
    pub crop: Count,
    /// Crops per batch
    #[arg(long)]
    pub batch: Count,
    /// Batches; an upper step uses one
    #[arg(long)]
    pub batches: Count,
    /// Maximal number of images of a test set [default: all]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Count>,
    /// Steps that solve the lower level on test images, by Nesterov's method
    #[arg(long)]
    pub test_steps: Count,
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

    fn check(&self) -> Result<(), BenchError> {
        let least = 3 * usize::from(self.side);
        if self.crop.get() < least {
            let expected = format!("at least {least}, three times the side of a filter");
            return Err(refuse("--crop", self.crop, &expected, "take larger crops"));
        }
        Ok(())
    }
}

impl Settings {
    /// The noise's standard deviation, for pixels in `[0, 1]`.
    pub fn deviation(&self) -> f64 {
        self.noise.get() / 255.0
    }

    /// The settings of the catalogue of methods from these.
    pub fn of_methods(&self) -> catalogue::Settings {
        catalogue::Settings {
            truncated: self.truncated.get(),
            ..self.linear.of_methods(&self.lower, &self.upper)
        }
    }
}
