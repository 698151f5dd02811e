//! What the tables of few-shot classification have in common.

use toml::Table;

use crate::error::BenchError;
use crate::experiments::Complete;
use crate::reproduce::{Cell, Preset, Quantity, Reproduction};

/// The source of images for tasks.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Images {
    Omniglot,
    MiniImagenet,
}

impl Images {
    /// The preset, and the subfolder of the data.
    fn name(self) -> &'static str {
        match self {
            Self::Omniglot => "omniglot",
            Self::MiniImagenet => "mini-imagenet",
        }
    }
}

/// A column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub name: &'static str,
    pub images: Images,
    pub way: i64,
    pub shot: i64,
}

/// A row: the method, and the network if it is not the usual one.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub name: &'static str,
    pub method: &'static str,
    pub network: &'static str,
}

/// A row with the usual network.
pub(super) const fn row(name: &'static str, method: &'static str) -> Row {
    Row { name, method, network: "convnet" }
}

/// The training and test classes of the embedded digits for a task.
const MOST_DIGITS: i64 = 5;

/// The cell of a row and a column, none if the embedded digits have too few classes; `--data-dir` is the folder that
/// contains the folders `omniglot` and `mini-imagenet`.
pub(super) fn cell(
    reproduction: &Reproduction,
    (row, column): (Row, Column),
    paper: Option<f64>,
    quantity: Quantity,
) -> Result<Option<Cell>, BenchError> {
    if reproduction.preset == Preset::Small && column.way > MOST_DIGITS {
        return Ok(None);
    }
    let mut given = Table::new();
    for (key, value) in [("method", row.method), ("network", row.network)] {
        given.insert(key.into(), value.into());
    }
    given.insert("device".into(), reproduction.device.to_string().into());
    for (key, value) in [("way", column.way), ("shot", column.shot)] {
        given.insert(key.into(), value.into());
    }
    match &reproduction.data_dir {
        Some(dir) => {
            let dir = dir.join(column.images.name());
            given.insert("data-dir".into(), dir.display().to_string().into());
            given.insert("preset".into(), column.images.name().into());
        }
        None if row.network == "resnet12" => {
            // Images of 8x8 have no pixel left after its four poolings.
            return Ok(None);
        }
        None => {}
    }
    let settings = Complete::given("few-shot", &given)?;
    let cost = column.way as f64 * (column.shot + 15) as f64;
    Ok(Some(Cell {
        row: row.name,
        column: column.name,
        paper,
        settings,
        method: row.method,
        quantity,
        cost,
    }))
}

/// The cells of a table of accuracies, one figure for each row and column.
pub(super) fn cells<const N: usize>(
    reproduction: &Reproduction,
    columns: [Column; N],
    rows: &[(Row, [Option<f64>; N])],
) -> Result<Vec<Cell>, BenchError> {
    let mut cells = Vec::new();
    for (at, column) in columns.into_iter().enumerate() {
        for (row, figures) in rows {
            let place = (*row, column);
            cells.extend(cell(reproduction, place, figures[at], Quantity::TestAccuracy)?);
        }
    }
    Ok(cells)
}

/// The four columns of Omniglot.
pub(super) const OMNIGLOT: [Column; 4] = [
    Column { name: "Omniglot 5-way 1-shot", images: Images::Omniglot, way: 5, shot: 1 },
    Column { name: "Omniglot 5-way 5-shot", images: Images::Omniglot, way: 5, shot: 5 },
    Column { name: "Omniglot 20-way 1-shot", images: Images::Omniglot, way: 20, shot: 1 },
    Column { name: "Omniglot 20-way 5-shot", images: Images::Omniglot, way: 20, shot: 5 },
];

/// The two columns of mini-imagenet.
pub(super) const MINI_IMAGENET: [Column; 2] = [
    Column { name: "mini-imagenet 5-way 1-shot", images: Images::MiniImagenet, way: 5, shot: 1 },
    Column { name: "mini-imagenet 5-way 5-shot", images: Images::MiniImagenet, way: 5, shot: 5 },
];
