//! The methods of this experiment: baselines, and those of the table of all methods.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::BenchError;

/// What a run does where nothing is said.
pub(super) const DEFAULT: &[&str] = &["noisy", "rad", "cg", "oracle"];

/// Every method that fits, and what it does. Not `fad`, `rtho` and the like, whose cost grows with x, one number
/// a sample; nor `alternating`, which sees F_x alone, and that is 0.
const METHODS: &[(&str, &str)] = &[
    ("noisy", "baseline: train on all labels, wrong ones included"),
    ("rad", "back through all lower steps (reverse mode, RHG)"),
    ("trad", "back through the last lower steps (truncated, T-RHG)"),
    ("bda", "back through steps down both losses"),
    ("ia-gm", "rad, and the start of the lower steps is learned too"),
    ("iaptt", "ia-gm from the lower point where the upper loss is greatest"),
    ("one-stage", "back through one lower step"),
    ("one-stage-fd", "the same by a difference of two gradients"),
    ("cg", "implicit function theorem, by conjugate gradients (LS)"),
    ("normal-cg", "the same, on the normal equations"),
    ("gmres", "the same, by GMRES"),
    ("bicgstab", "the same, by BiCGSTAB"),
    ("neumann", "the same, by a Neumann series (NS)"),
    ("approx-grad", "the same, by gradient descent"),
    ("identity", "the same, with I for the Hessian"),
    ("fixed-point", "back through the last lower step, again and again"),
    ("penalty", "the lower gradient as a penalty"),
    ("f2sa", "the value function as a penalty, both parts followed"),
    ("bome", "the value function as a constraint, by a dynamic barrier"),
    ("v-pbgd", "the value function as a penalty"),
    ("g-pbgd", "the squared lower gradient as a penalty"),
    ("meha", "the Moreau envelope of the lower loss as a penalty"),
    ("bvfim", "the value function as a barrier"),
    ("oracle", "baseline: train on the right labels alone"),
];

/// All names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|(name, _)| *name)
}

/// A method by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Method(&'static str);

impl Method {
    /// The method called `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> Result<Self, BenchError> {
        names().find(|known| *known == name).map(Self).ok_or_else(|| BenchError::Setting {
            setting: "--method",
            found: name.into(),
            expected: format!("all, or some of {}", names().collect::<Vec<_>>().join(", ")),
            cure: "check the spelling",
        })
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        names().map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// What it does, in a line.
    pub fn describe(self) -> &'static str {
        METHODS.iter().find(|(name, _)| *name == self.0).map_or("", |(_, about)| about)
    }

    /// Whether it is a yardstick, which learns no weights.
    pub fn is_baseline(self) -> bool {
        matches!(self.0, "noisy" | "oracle")
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
