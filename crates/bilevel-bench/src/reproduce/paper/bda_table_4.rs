//! Few-shot classification of mini-imagenet, and the upper steps to 44 %.

use super::few_shot::{Column, MINI_IMAGENET, cell, row};
use crate::error::BenchError;
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

/// The rows, their accuracies, and their upper steps.
const ROWS: [(&str, &str, f64, f64); 3] = [
    ("RHG", "rad", 48.89, 3300.0),
    ("T-RHG", "trad", 47.67, 3700.0),
    ("BDA", "bda", 49.08, 2500.0),
];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let accuracy = Column { name: "accuracy", ..MINI_IMAGENET[0] };
    let mut cells = Vec::new();
    for (name, method, figure, _) in ROWS {
        let place = (row(name, method), accuracy);
        cells.extend(cell(reproduction, place, Some(figure), Quantity::TestAccuracy)?);
    }
    // The digits exceed 44 % at the first evaluation.
    if reproduction.preset == Preset::Full {
        let steps = Column { name: "upper steps to 44 %", ..MINI_IMAGENET[0] };
        for (name, method, _, figure) in ROWS {
            let place = (row(name, method), steps);
            let quantity = Quantity::Figure("steps to 44 %");
            cells.extend(cell(reproduction, place, Some(figure), quantity)?);
        }
    }
    Ok(cells)
}
