//! The methods of this experiment: the searches, and the suitable ones of the catalogue.

use crate::settings::{Catalogued, Offered};

/// Those of the catalogue.
const BILEVEL: [&str; 13] = [
    "rad",
    "trad",
    "fad",
    "cg",
    "newton",
    "lbfgs",
    "neumann",
    "fixed-point",
    "stocbio",
    "amigo",
    "soba",
    "saba",
    "srba",
];

/// A method.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Of the catalogue.
    Bilevel(Catalogued),
    /// Baseline: evenly spaced hyperparameters.
    Grid,
    /// Baseline: random hyperparameters.
    Random,
}

impl Offered for Method {
    fn all() -> Vec<Self> {
        let bilevel = BILEVEL.into_iter().filter_map(Catalogued::find).map(Self::Bilevel);
        bilevel.chain([Self::Grid, Self::Random]).collect()
    }

    fn name(&self) -> String {
        match self {
            Self::Bilevel(method) => method.name(),
            Self::Grid => "grid".into(),
            Self::Random => "random".into(),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Bilevel(method) => method.entry.is_called(name),
            _ => self.name().eq_ignore_ascii_case(name),
        }
    }

    fn summary(&self) -> String {
        match self {
            Self::Bilevel(method) => method.entry.summary.into(),
            Self::Grid => "baseline: evenly spaced hyperparameters".into(),
            Self::Random => "baseline: hyperparameters drawn at random".into(),
        }
    }

    fn with(self, settings: toml::Table) -> Result<Self, String> {
        match self {
            Self::Bilevel(method) => method.with(settings).map(Self::Bilevel),
            _ if settings.is_empty() => Ok(self),
            _ => Err(format!("`{}` is a baseline, which takes no settings", self.name())),
        }
    }
}
