//! Methods of the catalogue together with the baselines of an experiment.

use std::fmt::Debug;

use bilevel_core::catalogue::{self, Entry};
use clap::ValueEnum;

use super::{Catalogued, Offered};

/// The baselines of an experiment, an enum whose values have their names and summaries from clap, and the methods of
/// the catalogue with which they are compared.
pub trait Baseline: ValueEnum + Copy + Debug + PartialEq + Send + Sync + 'static {
    /// Whether a method of the catalogue suits the experiment.
    fn suits(entry: &Entry) -> bool;
}

/// A method of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub enum Chosen<B> {
    /// A baseline.
    Baseline(B),
    /// A method of the catalogue.
    Bilevel(Catalogued),
}

impl<B: Baseline> Offered for Chosen<B> {
    fn all() -> Vec<Self> {
        let baselines = B::value_variants().iter().copied().map(Self::Baseline);
        let bilevel = catalogue::all().filter(|entry| B::suits(entry)).map(Catalogued::new);
        baselines.chain(bilevel.map(Self::Bilevel)).collect()
    }

    fn name(&self) -> String {
        match self {
            Self::Baseline(baseline) => {
                let value = baseline.to_possible_value();
                value.map(|value| value.get_name().to_owned()).unwrap_or_default()
            }
            Self::Bilevel(method) => method.name(),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Baseline(baseline) => {
                baseline.to_possible_value().is_some_and(|value| value.matches(name, true))
            }
            Self::Bilevel(method) => method.entry.is_called(name),
        }
    }

    fn summary(&self) -> String {
        match self {
            Self::Baseline(baseline) => {
                let value = baseline.to_possible_value();
                let help = value.and_then(|value| value.get_help().map(ToString::to_string));
                format!("baseline: {}", help.unwrap_or_default())
            }
            Self::Bilevel(method) => method.entry.summary.into(),
        }
    }

    fn reads(&self) -> &'static [&'static str] {
        match self {
            Self::Baseline(_) => &[],
            Self::Bilevel(method) => method.entry.reads,
        }
    }

    fn with(self, settings: toml::Table) -> Result<Self, String> {
        match self {
            Self::Bilevel(method) => method.with(settings).map(Self::Bilevel),
            Self::Baseline(_) if settings.is_empty() => Ok(self),
            Self::Baseline(_) => {
                Err(format!("`{}` is a baseline, which takes no settings", self.name()))
            }
        }
    }
}
