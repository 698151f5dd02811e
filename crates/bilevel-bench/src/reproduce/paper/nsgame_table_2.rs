//! Meta-Weight-Net on classes of different sizes. The text of the source gives only the costs: that of the game, and
//! that it takes almost no additional memory.
//!
//! Our memory is that of the host: on a GPU it is not what the source measured.

use toml::Table;

use crate::error::BenchError;
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

const COLUMNS: [(&str, f64); 3] =
    [("imbalance 20", 20.0), ("imbalance 50", 50.0), ("imbalance 100", 100.0)];

/// The method, the paper's seconds per iteration and its memory for second derivatives in MiB (it has 235 and 242 MB).
const ROWS: [(&str, &str, [Option<f64>; 2]); 4] = [
    ("plain", "plain", [None, None]),
    ("MWN", "mwn", [Some(0.15), Some(224.1)]),
    ("TBP", "tbp", [Some(0.17), Some(230.8)]),
    ("NSGame", "nsgame-mwn", [Some(0.07), None]),
];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let full = reproduction.preset == Preset::Full;
    let mut cells = Vec::new();
    for (at, (column, imbalance)) in COLUMNS.into_iter().enumerate() {
        let mut given = Table::new();
        given.insert("imbalance".into(), imbalance.into());
        given
            .insert("method".into(), toml::Value::from(ROWS.map(|(_, method, _)| method).to_vec()));
        if full {
            given.insert("preset".into(), "paper".into());
        }
        let settings = reproduction.settings("mwn", given)?;
        for (row, method, [seconds, memory]) in ROWS {
            let mut cell = |column, paper, quantity| {
                let settings = settings.clone();
                // The more classes differ in size, the fewer images there are.
                let cost = 1.0 / imbalance.ln();
                cells.push(Cell { row, column, paper, settings, method, quantity, cost });
            };
            cell(column, None, Quantity::TestAccuracy);
            if at + 1 == COLUMNS.len() {
                cell("s/iteration", seconds, Quantity::Figure("s/iteration"));
                cell("extra MiB", memory, Quantity::Figure("extra MiB"));
            }
        }
    }
    Ok(cells)
}
