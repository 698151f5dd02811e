//! Hyper-cleaning by softmax regression.

use crate::error::BenchError;
use crate::experiments::{Settings, hyper_cleaning};
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

pub(super) fn cells(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    const COLUMNS: [(&str, usize); 5] =
        [("T=50", 50), ("T=100", 100), ("T=200", 200), ("T=400", 400), ("T=800", 800)];
    // The time of a hypergradient beside that of rad.
    const ROWS: [(&str, &str, f64, [f64; 5]); 3] = [
        ("RHG", "rad", 1.0, [88.96, 89.73, 90.13, 90.19, 90.15]),
        ("T-RHG", "trad", 0.7, [87.90, 88.28, 88.50, 88.52, 89.99]),
        ("BDA", "bda", 2.0, [89.12, 90.12, 90.57, 90.81, 90.86]),
    ];
    let mut cells = Vec::new();
    for (row, method, cost, figures) in ROWS {
        for ((column, steps), paper) in COLUMNS.into_iter().zip(figures) {
            let settings = hyper_cleaning::Settings::new(&hyper_cleaning::Args {
                preset: Some(hyper_cleaning::Preset::Bda),
                methods: vec![method.into()],
                steps: Some(steps),
                train: (reproduction.preset == Preset::Small).then_some(500),
                validation: (reproduction.preset == Preset::Small).then_some(500),
                common: reproduction.common(),
                ..hyper_cleaning::Args::default()
            })?;
            cells.push(Cell {
                row,
                column,
                paper: Some(paper),
                settings: Settings::HyperCleaning(settings),
                method,
                quantity: Quantity::TestAccuracy,
                cost: cost * steps as f64,
            });
        }
    }
    Ok(cells)
}
