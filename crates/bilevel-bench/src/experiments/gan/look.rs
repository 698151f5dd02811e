//! Evaluations of a generator during training.

use serde::{Deserialize, Serialize};

/// An evaluation of the samples of a generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The upper step.
    pub step: usize,
    /// Modes covered.
    pub modes: usize,
    /// Fraction of good samples.
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
