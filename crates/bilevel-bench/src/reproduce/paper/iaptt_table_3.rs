//! Hyper-cleaning by two layers.

use toml::Table;

use crate::error::BenchError;
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    // The upper steps, the time of a run beside that of others, and the figures. After 20 steps most have come to rest;
    // the last goes back from the first of its lower steps, where F is greatest, and learns the start of the lower level.
    const ROWS: [(&str, &str, u32, f64, [f64; 2]); 6] = [
        ("LS", "cg", 20, 1.0, [89.19, 85.96]),
        ("NS", "neumann", 20, 1.0, [87.54, 89.58]),
        ("RHG", "rad", 20, 1.0, [87.90, 89.36]),
        ("T-RHG", "trad", 20, 1.0, [88.57, 89.77]),
        ("BDA", "bda", 20, 1.0, [87.15, 90.38]),
        ("IAPTT-GM", "iaptt", 150, 4.0, [90.88, 91.57]),
    ];
    let mut cells = Vec::new();
    for (row, method, upper_steps, cost, [accuracy, f1]) in ROWS {
        let mut given = Table::new();
        given.insert("preset".into(), "iaptt".into());
        given.insert("method".into(), method.into());
        given.insert("upper-steps".into(), upper_steps.into());
        if reproduction.preset == Preset::Small {
            given.insert("train".into(), 500.into());
            given.insert("validation".into(), 500.into());
        }
        let settings = reproduction.settings("hyper-cleaning", given)?;
        for (column, paper, quantity) in
            [("accuracy", accuracy, Quantity::TestAccuracy), ("F1", f1, Quantity::F1)]
        {
            cells.push(Cell {
                row,
                column,
                paper: Some(paper),
                settings: settings.clone(),
                method,
                quantity,
                cost,
            });
        }
    }
    Ok(cells)
}
