//! What is seen of a search on the way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A look at a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// After how many upper steps.
    pub step: usize,
    /// The weights of the operations of a normal cell, an edge a row.
    pub weights: Vec<f64>,
    /// Identities in the cell that they choose.
    pub skips: usize,
    /// Degrees between hypergradients and the reference, by method; empty where they were not asked for.
    pub angles: BTreeMap<String, f64>,
}

impl crate::experiments::looks::Look for Look {
    fn step(&self) -> usize {
        self.step
    }
}
