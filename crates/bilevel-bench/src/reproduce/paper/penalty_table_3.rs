//! Few-shot classification of Omniglot and mini-imagenet by a common representation, and by others.

use super::few_shot::{self, MINI_IMAGENET, OMNIGLOT, row};
use crate::error::BenchError;
use crate::reproduce::{Cell, Reproduction};

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let [a, b, c, d] = OMNIGLOT;
    let [e, f] = MINI_IMAGENET;
    let imaml = [Some(99.50), Some(99.74), Some(96.18), Some(99.14), Some(49.30), None];
    let rows = [
        (row("MAML", "maml"), [98.7, 99.9, 95.8, 98.9, 48.70, 63.11].map(Some)),
        (row("iMAML", "imaml"), imaml),
        (row("Proto Net", "protonet"), [98.8, 99.7, 96.0, 98.9, 49.42, 68.20].map(Some)),
        (row("RMD", "rad"), [98.6, 99.5, 95.5, 98.4, 50.54, 64.53].map(Some)),
        (row("ApproxGrad", "approx-grad"), [97.75, 99.51, 94.69, 98.46, 43.74, 65.56].map(Some)),
        (row("Penalty", "penalty"), [97.83, 99.45, 94.06, 98.47, 53.17, 67.74].map(Some)),
    ];
    few_shot::cells(reproduction, [a, b, c, d, e, f], &rows)
}
