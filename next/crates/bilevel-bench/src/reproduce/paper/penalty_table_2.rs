//! Importance learning: one weight a sample, under a network that sees batches.

use crate::error::BenchError;
use crate::experiments::{Settings, importance};
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

/// The column, the share of wrong labels, and the figures of the rows.
const COLUMNS: [(&str, f64, [f64; 5]); 2] = [
    ("25 % wrong", 0.25, [99.3, 94.6, 83.9, 98.11, 98.89]),
    ("50 % wrong", 0.5, [99.3, 94.6, 60.8, 97.27, 97.51]),
];

/// The method, and its time beside that of a baseline.
const ROWS: [(&str, importance::Method, f64); 5] = [
    ("Oracle", importance::Method::Oracle, 1.0),
    ("Val-Only", importance::Method::ValOnly, 1.0),
    ("Train+Val", importance::Method::TrainVal, 1.0),
    ("ApproxGrad", importance::Method::ApproxGrad, 3.0),
    ("Penalty", importance::Method::Penalty, 4.0),
];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let full = reproduction.preset == Preset::Full;
    let mut cells = Vec::new();
    for (column, noise, figures) in COLUMNS {
        for ((row, method, cost), paper) in ROWS.into_iter().zip(figures) {
            let settings = importance::Settings::new(&importance::Args {
                preset: full.then_some(importance::Preset::Paper),
                methods: vec![method],
                noise: Some(noise),
                common: reproduction.common(),
                ..importance::Args::default()
            })?;
            cells.push(Cell {
                row,
                column,
                paper: Some(paper),
                settings: Settings::Importance(settings),
                method: method.name(),
                quantity: Quantity::TestAccuracy,
                cost,
            });
        }
    }
    Ok(cells)
}
