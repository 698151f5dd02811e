//! Meta-Weight-Net and label correction with wrong labels, on CIFAR-10. Our memory is that of the host: on a GPU it is
//! not what the source measured.

use toml::Table;

use crate::error::BenchError;
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

/// How labels are corrupted, and the fraction of them.
const COLUMNS: [(&str, &str, f64); 6] = [
    ("uniform 0 %", "uniform", 0.0),
    ("uniform 20 %", "uniform", 0.2),
    ("uniform 40 %", "uniform", 0.4),
    ("flip 0 %", "flip", 0.0),
    ("flip 20 %", "flip", 0.2),
    ("flip 40 %", "flip", 0.4),
];

/// A method: the accuracies, then the seconds per iteration and the MB for second derivatives. The paper has no row for
/// training on all labels unchanged.
struct Row {
    name: &'static str,
    method: &'static str,
    experiment: &'static str,
    paper: Option<([f64; 6], [f64; 2])>,
}

const ROWS: [Row; 7] = [
    Row { name: "plain, as MWN", method: "plain", experiment: "mwn", paper: None },
    Row {
        name: "MWN",
        method: "mwn",
        experiment: "mwn",
        paper: Some(([91.93, 90.36, 87.44, 91.64, 89.81, 88.06], [0.165, 233.0])),
    },
    Row {
        name: "TBP, MWN",
        method: "tbp",
        experiment: "mwn",
        paper: Some(([92.11, 90.19, 87.15, 92.15, 90.05, 88.12], [0.192, 242.0])),
    },
    Row {
        name: "NSGame, MWN",
        method: "nsgame-mwn",
        experiment: "mwn",
        paper: Some(([92.03, 90.12, 87.04, 92.26, 90.50, 87.85], [0.072, 0.059])),
    },
    Row { name: "plain, as MLC", method: "plain", experiment: "mlc", paper: None },
    Row {
        name: "MLC",
        method: "mlc",
        experiment: "mlc",
        paper: Some(([90.42, 84.91, 80.60, 90.45, 86.62, 80.13], [0.215, 388.0])),
    },
    Row {
        name: "NSGame, MLC",
        method: "nsgame-mlc",
        experiment: "mlc",
        paper: Some(([90.73, 85.21, 80.45, 90.25, 87.64, 79.57], [0.097, 0.02])),
    },
];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let full = reproduction.preset == Preset::Full;
    let mut cells = Vec::new();
    for Row { name: row, method, experiment, paper } in ROWS {
        for (at, (column, noise, rate)) in COLUMNS.into_iter().enumerate() {
            let mut given = Table::new();
            given.insert("noise-kind".into(), noise.into());
            given.insert("noise".into(), rate.into());
            let methods = ROWS.iter().filter(|row| row.experiment == experiment);
            let methods = methods.map(|row| row.method).collect::<Vec<_>>();
            given.insert("method".into(), toml::Value::from(methods));
            if full {
                given.insert("preset".into(), "paper".into());
            }
            let settings = reproduction.settings(experiment, given)?;
            // A wide network of 28 layers compared with a residual one of 32.
            let cost = if experiment == "mlc" { 20.0 } else { 1.0 };
            let mut cell = |column, paper, quantity| {
                let settings = settings.clone();
                cells.push(Cell { row, column, paper, settings, method, quantity, cost });
            };
            cell(column, paper.map(|(accuracy, _)| accuracy[at]), Quantity::TestAccuracy);
            if at + 1 == COLUMNS.len() {
                let [seconds, memory] = ["s/iteration", "extra MiB"];
                let mib = |(_, costs): ([f64; 6], [f64; 2])| costs[1] * 1e6 / f64::from(1 << 20);
                cell(seconds, paper.map(|(_, costs)| costs[0]), Quantity::Figure(seconds));
                cell(memory, paper.map(mib), Quantity::Figure(memory));
            }
        }
    }
    Ok(cells)
}
