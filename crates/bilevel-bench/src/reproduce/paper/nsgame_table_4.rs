//! Meta-Weight-Net on long-tailed classes by the step size of x, that of y being 0.1. The text of the source says that
//! the game is best at 1e-5 and becomes worse towards 1e-3, and that Meta-Weight-Net does not; its figures are not
//! available.

use toml::Table;

use crate::error::BenchError;
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

const COLUMNS: [(&str, f64); 5] = [
    ("b = 1e-1", 1e-1),
    ("b = 1e-2", 1e-2),
    ("b = 1e-3", 1e-3),
    ("b = 1e-4", 1e-4),
    ("b = 1e-5", 1e-5),
];

const ROWS: [(&str, &str); 2] = [("MWN", "mwn"), ("NSGame", "nsgame-mwn")];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let mut cells = Vec::new();
    for (row, method) in ROWS {
        for (column, rate) in COLUMNS {
            let mut given = Table::new();
            given.insert("imbalance".into(), 100.0.into());
            given.insert("method".into(), method.into());
            given.insert("learning-rate".into(), rate.into());
            given.insert("repetitions".into(), 0.into());
            if reproduction.preset == Preset::Full {
                given.insert("preset".into(), "paper".into());
            }
            let settings = reproduction.settings("mwn", given)?;
            let quantity = Quantity::TestAccuracy;
            cells.push(Cell { row, column, paper: None, settings, method, quantity, cost: 1.0 });
        }
    }
    Ok(cells)
}
