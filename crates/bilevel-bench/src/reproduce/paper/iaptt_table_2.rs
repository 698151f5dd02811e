//! Few-shot classification of mini-imagenet by two networks; tiered-imagenet, the other half of the table, is not
//! included.

use super::few_shot::{self, MINI_IMAGENET, Row, row};
use crate::error::BenchError;
use crate::reproduce::{Cell, Reproduction};

/// A row with the residual network.
const fn residual(name: &'static str, method: &'static str) -> Row {
    Row { name, method, network: "resnet12" }
}

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let rows = [
        (row("Proto Net", "protonet"), [49.42, 68.20].map(Some)),
        (row("MAML", "maml"), [48.70, 63.11].map(Some)),
        (row("RHG", "rad"), [48.89, 63.02].map(Some)),
        (row("T-RHG", "trad"), [47.67, 63.70].map(Some)),
        (row("BDA", "bda"), [49.08, 62.17].map(Some)),
        // The paper has only IAPTT-GM on the residual network.
        (row("IAPTT-GM", "iaptt"), [None, None]),
        (residual("MAML, ResNet-12", "maml"), [51.03, 68.26].map(Some)),
        (residual("RHG, ResNet-12", "rad"), [50.54, 64.53].map(Some)),
        (residual("IAPTT-GM, ResNet-12", "iaptt"), [56.69, 70.21].map(Some)),
    ];
    few_shot::cells(reproduction, MINI_IMAGENET, &rows)
}
