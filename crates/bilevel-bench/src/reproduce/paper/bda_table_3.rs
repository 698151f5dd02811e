//! Few-shot classification of Omniglot.

use super::few_shot::{self, OMNIGLOT, row};
use crate::error::BenchError;
use crate::reproduce::{Cell, Reproduction};

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let rows = [
        (row("MAML", "maml"), [98.70, 99.91, 95.80, 98.90].map(Some)),
        (row("Meta-SGD", "meta-sgd"), [97.97, 98.96, 93.98, 98.40].map(Some)),
        (row("Reptile", "reptile"), [97.68, 99.48, 89.43, 97.12].map(Some)),
        (row("RHG", "rad"), [98.60, 99.50, 95.50, 98.40].map(Some)),
        (row("T-RHG", "trad"), [98.74, 99.52, 95.82, 98.95].map(Some)),
        (row("BDA", "bda"), [99.04, 99.62, 96.50, 99.10].map(Some)),
    ];
    few_shot::cells(reproduction, OMNIGLOT, &rows)
}
