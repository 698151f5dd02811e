//! What is seen of a generator on the way.

use serde::{Deserialize, Serialize};

/// A look at the samples of a generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// After how many upper steps.
    pub step: usize,
    /// Modes covered.
    pub modes: usize,
    /// Share of good samples.
    pub good: f64,
    /// Discrepancy from the data.
    pub distance: f64,
    /// Some samples, row-major.
    pub samples: Vec<f32>,
}

impl crate::experiments::looks::Look for Look {
    fn step(&self) -> usize {
        self.step
    }
}
