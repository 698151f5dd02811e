//! The methods of this experiment: the searches, and those of the table of all methods.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::BenchError;

/// Every method that fits, and what it does.
const METHODS: &[(&str, &str)] = &[
    ("rad", "back through all lower steps (reverse mode)"),
    ("trad", "back through the last lower steps"),
    ("fad", "forwards through all lower steps"),
    ("cg", "implicit function theorem, by conjugate gradients"),
    ("neumann", "the same, by a Neumann series"),
    ("fixed-point", "back through the last lower step, again and again"),
    ("stocbio", "the implicit one on batches, by a series"),
    ("amigo", "the same, y and v by some steps each"),
    ("soba", "y, v and x by one step each"),
    ("saba", "the same, with a memory of every batch"),
    ("srba", "the same, by recursive estimates"),
    ("grid", "baseline: evenly spaced hyperparameters"),
    ("random", "baseline: hyperparameters drawn at random"),
];

/// A method by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Method(&'static str);

impl Method {
    /// The method called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Self, BenchError> {
        Self::all().find(|known| known.name() == name).ok_or_else(|| BenchError::Setting {
            setting: "--method",
            found: name.into(),
            expected: format!(
                "some of {}",
                Self::all().map(Self::name).collect::<Vec<_>>().join(", ")
            ),
            cure: "check the spelling",
        })
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        METHODS.iter().map(|(name, _)| Self(name))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// What it does, in a line.
    pub fn describe(self) -> &'static str {
        METHODS.iter().find(|(name, _)| *name == self.0).map_or("", |(_, about)| about)
    }

    /// Whether it is a search.
    pub fn is_baseline(self) -> bool {
        matches!(self.0, "grid" | "random")
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
