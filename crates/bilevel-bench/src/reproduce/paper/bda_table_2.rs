//! Hyper-cleaning by softmax regression.

use toml::Table;

use crate::error::BenchError;
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    const COLUMNS: [(&str, u32); 5] =
        [("T=50", 50), ("T=100", 100), ("T=200", 200), ("T=400", 400), ("T=800", 800)];
    // The cost of a hypergradient relative to that of rad.
    const ROWS: [(&str, &str, f64, [f64; 5]); 3] = [
        ("RHG", "rad", 1.0, [88.96, 89.73, 90.13, 90.19, 90.15]),
        ("T-RHG", "trad", 0.7, [87.90, 88.28, 88.50, 88.52, 89.99]),
        ("BDA", "bda", 2.0, [89.12, 90.12, 90.57, 90.81, 90.86]),
    ];
    let mut cells = Vec::new();
    for (row, method, cost, figures) in ROWS {
        for ((column, steps), paper) in COLUMNS.into_iter().zip(figures) {
            let mut given = Table::new();
            given.insert("preset".into(), "bda".into());
            given.insert("method".into(), method.into());
            given.insert("lower-steps".into(), steps.into());
            if reproduction.preset == Preset::Small {
                given.insert("train".into(), 500.into());
                given.insert("validation".into(), 500.into());
            }
            let settings = reproduction.settings("hyper-cleaning", given)?;
            cells.push(Cell {
                row,
                column,
                paper: Some(paper),
                settings,
                method,
                quantity: Quantity::TestAccuracy,
                cost: cost * f64::from(steps),
            });
        }
    }
    Ok(cells)
}
