//! Hyper-cleaning by two linear layers, all methods with the same constants and number of upper steps.
//!
//! The F1 of the authors' program counts kept samples as positive: a sample is clean if its logit is at least 0, the
//! initial value of all of them. Ours, whose positives are the wrong labels, is shown beside it.

use toml::Table;

use crate::error::BenchError;
use crate::reproduce::{Cell, DataSet, Preset, Quantity, Reproduction};

/// A row of the paper, our method, and accuracy and F1 on MNIST and on FashionMNIST.
const ROWS: [(&str, &str, [f64; 2], [f64; 2]); 6] = [
    ("LS", "cg", [89.19, 85.96], [83.15, 85.13]),
    ("NS", "neumann", [87.54, 89.58], [81.37, 87.28]),
    ("RHG", "rad", [87.90, 89.36], [81.91, 87.12]),
    ("T-RHG", "trad", [88.57, 89.77], [81.85, 86.76]),
    ("BDA", "bda", [87.15, 90.38], [79.97, 88.24]),
    ("IAPTT-GM", "iaptt", [90.88, 91.57], [83.67, 90.37]),
];

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    let mut cells = Vec::new();
    for (row, method, mnist, fashion) in ROWS {
        let mut given = Table::new();
        given.insert("preset".into(), "iaptt".into());
        given.insert("method".into(), method.into());
        if let Some(steps) = reproduction.upper_steps {
            given.insert("upper-steps".into(), (steps.get() as i64).into());
        }
        if reproduction.preset == Preset::Small {
            given.insert("train".into(), 500.into());
            given.insert("validation".into(), 500.into());
            given.entry("upper-steps").or_insert(300.into());
        }
        let settings = reproduction.settings("hyper-cleaning", given)?;
        let [accuracy, f1] = match reproduction.data_set {
            Some(DataSet::FashionMnist) => fashion,
            _ => mnist,
        };
        let mut cell = |column, paper, quantity| {
            let settings = settings.clone();
            cells.push(Cell { row, column, paper, settings, method, quantity, cost: 1.0 });
        };
        cell("accuracy", Some(accuracy), Quantity::TestAccuracy);
        cell("F1 of clean", Some(f1), Quantity::F1Clean);
        cell("F1 of wrong", None, Quantity::F1);
        cell("s/step", None, Quantity::SecondsPerStep);
    }
    Ok(cells)
}
