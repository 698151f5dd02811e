//! The tables, with the papers' figures. A new one is a function here and a line of [`TABLES`].

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Cell, Preset, Quantity, Reproduction};
use crate::cli::Common;
use crate::error::BenchError;
use crate::experiments::{Settings, hyper_cleaning};
use crate::settings::refuse;

/// A table of a paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableName {
    /// Hyper-cleaning of MNIST by softmax regression, T = 50 to 800
    #[value(name = "bda-table-2")]
    #[serde(rename = "bda-table-2")]
    BdaTable2,
    /// Hyper-cleaning of MNIST by a network of two layers
    #[value(name = "iaptt-table-3")]
    #[serde(rename = "iaptt-table-3")]
    IapttTable3,
}

/// What is known of a table beside its figures.
pub struct About {
    /// Which.
    pub name: TableName,
    /// What it shows.
    pub title: &'static str,
    /// Where it stands.
    pub source: &'static str,
}

/// All of them.
pub const TABLES: &[About] = &[
    About {
        name: TableName::BdaTable2,
        title: "Hyper-cleaning, test accuracy % after T lower steps",
        source: "R. Liu et al., A generic first-order algorithmic framework for bi-level programming \
                 beyond lower-level singleton, 2020, Table 2",
    },
    About {
        name: TableName::IapttTable3,
        title: "Hyper-cleaning by two layers, test accuracy and F1 %",
        source: "R. Liu et al., Towards gradient-based bilevel optimization with non-convex followers \
                 and beyond, 2021, Table 3",
    },
];

impl TableName {
    /// Title and source.
    pub fn about(self) -> &'static About {
        let found = TABLES.iter().find(|about| about.name == self);
        found.expect("every table has a line in TABLES")
    }

    /// The name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Its cells, in the paper's order.
    ///
    /// # Errors
    /// If data is needed that is not named.
    pub fn cells(self, reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
        match self {
            Self::BdaTable2 => bda_table_2(reproduction),
            Self::IapttTable3 => iaptt_table_3(reproduction),
        }
    }
}

impl Reproduction {
    /// What every experiment is told.
    fn common(&self) -> Common {
        Common { backend: Some(self.backend), data_dir: self.data_dir.clone(), ..Common::default() }
    }

    /// The folder of the data: named for `full`, none for `small`.
    ///
    /// # Errors
    /// If it is not so.
    pub fn check_data(&self) -> Result<Option<PathBuf>, BenchError> {
        match (self.preset, &self.data_dir) {
            (Preset::Full, None) => Err(refuse(
                "--data-dir",
                "not given",
                "the folder of the paper's data",
                "name it, or take --preset small",
            )),
            (Preset::Small, Some(dir)) => Err(refuse(
                "--data-dir",
                dir.display(),
                "none with --preset small, which is on the embedded digits",
                "leave it out, or take --preset full",
            )),
            (_, dir) => Ok(dir.clone()),
        }
    }
}

fn bda_table_2(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
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

fn iaptt_table_3(reproduction: &Reproduction) -> Result<Vec<Cell>, BenchError> {
    const ROWS: [(&str, &str, [f64; 2]); 6] = [
        ("LS", "cg", [89.19, 85.96]),
        ("NS", "neumann", [87.54, 89.58]),
        ("RHG", "rad", [87.90, 89.36]),
        ("T-RHG", "trad", [88.57, 89.77]),
        ("BDA", "bda", [87.15, 90.38]),
        ("IAPTT-GM", "iaptt", [90.88, 91.57]),
    ];
    let mut cells = Vec::new();
    for (row, method, [accuracy, f1]) in ROWS {
        let settings = hyper_cleaning::Settings::new(&hyper_cleaning::Args {
            preset: Some(hyper_cleaning::Preset::Iaptt),
            methods: vec![method.into()],
            train: (reproduction.preset == Preset::Small).then_some(500),
            validation: (reproduction.preset == Preset::Small).then_some(500),
            common: reproduction.common(),
            ..hyper_cleaning::Args::default()
        })?;
        for (column, paper, quantity) in
            [("accuracy", accuracy, Quantity::TestAccuracy), ("F1", f1, Quantity::F1)]
        {
            cells.push(Cell {
                row,
                column,
                paper: Some(paper),
                settings: Settings::HyperCleaning(settings.clone()),
                method,
                quantity,
                cost: 1.0,
            });
        }
    }
    Ok(cells)
}
