//! Importance learning: one weight per sample, with a network trained on batches.

use toml::Table;

use crate::error::BenchError;
use crate::reproduce::{Cell, DataSet, Preset, Quantity, Reproduction};

/// Its name, the fraction of wrong labels, and the figures of the rows.
type Column = (&'static str, f64, [f64; 5]);

/// Of 59000 images and 1000 clean ones.
const MNIST: [Column; 2] = [
    ("25 % wrong", 0.25, [99.3, 94.6, 83.9, 98.11, 98.89]),
    ("50 % wrong", 0.5, [99.3, 94.6, 60.8, 97.27, 97.51]),
];

/// Of 40000 images and 10000 clean ones.
const CIFAR_10: [Column; 2] = [
    ("25 % wrong", 0.25, [82.9, 70.3, 79.1, 71.59, 79.67]),
    ("50 % wrong", 0.5, [80.7, 70.3, 72.2, 68.08, 79.03]),
];

/// The method, and its cost relative to that of a baseline.
const ROWS: [(&str, &str, f64); 5] = [
    ("Oracle", "clean-labels", 1.0),
    ("Val-Only", "val-only", 1.0),
    ("Train+Val", "train-val", 1.0),
    ("ApproxGrad", "approx-grad", 3.0),
    ("Penalty", "penalty", 4.0),
];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let full = reproduction.preset == Preset::Full;
    let (columns, preset) = match reproduction.data_set {
        Some(DataSet::Cifar10) => (CIFAR_10, "paper-cifar-10"),
        _ => (MNIST, "paper"),
    };
    let mut cells = Vec::new();
    for (column, noise, figures) in columns {
        for ((row, method, cost), paper) in ROWS.into_iter().zip(figures) {
            let mut given = Table::new();
            given.insert("method".into(), method.into());
            given.insert("noise".into(), noise.into());
            if full {
                given.insert("preset".into(), preset.into());
            }
            if let Some(steps) = reproduction.upper_steps {
                given.insert("upper-steps".into(), (steps.get() as i64).into());
            }
            let settings = reproduction.settings("importance", given)?;
            cells.push(Cell {
                row,
                column,
                paper: Some(paper),
                settings,
                method,
                quantity: Quantity::TestAccuracy,
                cost,
            });
        }
    }
    Ok(cells)
}
