//! Evaluations of a search during the run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An evaluation of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// The upper step.
    pub step: usize,
    /// The weights of the operations of a normal cell, one row per edge.
    pub weights: Vec<f64>,
    /// Identities in the cell that they choose.
    pub skips: usize,
    /// Degrees between hypergradients and the reference, by method; empty if not requested.
    pub angles: BTreeMap<String, f64>,
}

impl crate::experiments::looks::Look for Look {
    fn step(&self) -> usize {
        self.step
    }
}
