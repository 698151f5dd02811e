//! `bilevel reproduce`: the tables of papers, our figures beside theirs.
//!
//! A table is a list of [`Cell`]s; a cell says which run gives its figure. Equal runs are made once, each in a folder
//! of its own under `runs/`, where it can be cut short and gone on with like any other. What is there already is
//! read, so that a table is finished by calling `bilevel resume` until nothing is left; several processes may work
//! on one table at the same time, each on runs that no other has begun.

mod figure;
mod paper;
mod render;

pub use paper::{TABLES, TableName};
pub use render::text;

use std::fs::{File, TryLockError};

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::experiments::{self, Manner, Settings};
use crate::report::folder::RunFolder;
use crate::report::{MethodReport, ReportError};

/// How large a reproduction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The paper's data and sizes; needs --data-dir
    Full,
    /// The same protocol on the embedded digits, in minutes
    Small,
}

/// What is reproduced: `settings.toml` of its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reproduction {
    /// The table.
    pub reproduce: TableName,
    /// How large.
    pub preset: Preset,
    /// How many seeds, from 0.
    pub seeds: u64,
    /// Where the data lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<std::path::PathBuf>,
    /// Where to compute.
    pub backend: crate::backend::BackendName,
}

/// A figure of a paper, and the run that gives ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The line, a method as a rule.
    pub row: &'static str,
    /// The column.
    pub column: &'static str,
    /// The paper's figure, in per cent where it is a share.
    pub paper: Option<f64>,
    /// The run, whatever its seed.
    pub settings: Settings,
    /// Whose report of the run.
    pub method: &'static str,
    /// What of it.
    pub quantity: Quantity,
    /// Time of the run in any unit, to begin with what is cheap.
    pub cost: f64,
}

/// What a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// In per cent.
    TestAccuracy,
    /// In per cent.
    F1,
    /// One of [`MethodReport::figures`], as it is.
    Figure(&'static str),
}

impl Quantity {
    fn of(self, report: &MethodReport) -> Option<f64> {
        match self {
            Self::TestAccuracy => report.test_accuracy.map(|share| 100.0 * share),
            Self::F1 => report.f1().map(|share| 100.0 * share),
            Self::Figure(name) => report.figures.get(name).copied(),
        }
    }
}

/// A cell with our figures, one a seed that is done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filled {
    /// The line.
    pub row: &'static str,
    /// The column.
    pub column: &'static str,
    /// The paper's figure.
    pub paper: Option<f64>,
    /// Ours, by seed.
    pub ours: Vec<f64>,
}

impl Filled {
    /// The mean over seeds; none where no seed is done.
    pub fn mean(&self) -> Option<f64> {
        let n = self.ours.len();
        (n > 0).then(|| self.ours.iter().sum::<f64>() / n as f64)
    }

    /// The standard deviation over seeds, of the sample; none for fewer than two.
    pub fn deviation(&self) -> Option<f64> {
        let n = self.ours.len();
        let mean = self.mean().filter(|_| n > 1)?;
        let squares: f64 = self.ours.iter().map(|ours| (ours - mean).powi(2)).sum();
        Some((squares / (n - 1) as f64).sqrt())
    }

    /// Our mean less the paper's figure.
    pub fn difference(&self) -> Option<f64> {
        Some(self.mean()? - self.paper?)
    }
}

/// A table that is as full as its runs are done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reproduced {
    /// Its name.
    pub table: TableName,
    /// The cells, in the paper's order.
    pub cells: Vec<Filled>,
    /// Runs that are not done: another process is at them.
    pub left: usize,
}

impl Reproduced {
    /// As indented JSON.
    ///
    /// # Errors
    /// None known; the JSON writer's signature allows for some.
    pub fn json(&self) -> Result<String, ReportError> {
        let json = serde_json::to_string_pretty(self);
        json.map(|json| json + "\n")
            .map_err(|e| ReportError::Format { file: "table.json", what: e.to_string() })
    }
}

/// Runs what is missing of a table in its folder, and writes the table after each run. A first seed of every cell
/// and more seeds of the cheap ones come first, so that a table that is cut short is of use.
///
/// # Errors
/// See [`BenchError`].
pub fn fill(
    reproduction: &Reproduction,
    folder: &RunFolder,
    manner: Manner,
) -> Result<Reproduced, BenchError> {
    let cells = reproduction.reproduce.cells(reproduction)?;
    let mut runs: Vec<(Settings, f64)> = Vec::new();
    for cell in &cells {
        if runs.iter().all(|(settings, _)| *settings != cell.settings) {
            runs.push((cell.settings.clone(), cell.cost));
        }
    }
    let mut order: Vec<(usize, u64)> =
        (0..runs.len()).flat_map(|run| (0..reproduction.seeds).map(move |s| (run, s))).collect();
    let cost = |&(run, seed): &(usize, u64)| runs[run].1 * (seed + 1) as f64;
    order.sort_by(|a, b| cost(a).total_cmp(&cost(b)));

    let mut done: Vec<Vec<Option<Vec<MethodReport>>>> =
        vec![vec![None; reproduction.seeds as usize]; runs.len()];
    let mut reproduced = None;
    for (at, &(run, seed)) in order.iter().enumerate() {
        let settings = runs[run].0.clone().with_seed(seed);
        if manner.progress {
            eprintln!(
                "run {} of {}: {}, seed {seed}",
                at + 1,
                order.len(),
                label(&cells, &runs[run].0)
            );
        }
        done[run][seed as usize] = one(&settings, folder, &format!("{run:02}-{seed}"), manner)?;
        reproduced = Some(gather(reproduction.reproduce, &cells, &runs, &done, order.len()));
        if let Some(reproduced) = &reproduced {
            render::write(reproduced, folder)?;
        }
    }
    Ok(reproduced.unwrap_or_else(|| gather(reproduction.reproduce, &cells, &runs, &done, 0)))
}

/// One run, begun, gone on with or read; none where another process is at it.
fn one(
    settings: &Settings,
    folder: &RunFolder,
    name: &str,
    manner: Manner,
) -> Result<Option<Vec<MethodReport>>, BenchError> {
    let folder = folder.inner(&format!("runs/{name}"))?;
    let path = folder.path().join("lock");
    let refuse = |cause| ReportError::Write { path: path.clone(), cause };
    let lock = File::create(&path).map_err(refuse)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Ok(folder.report()?.map(|report| report.methods));
        }
        Err(TryLockError::Error(cause)) => return Err(refuse(cause).into()),
    }
    if folder.read_file("settings.toml")?.is_some() && folder.settings::<Settings>()? != *settings {
        return Err(ReportError::Damaged {
            path: folder.path().into(),
            what: "a run of another version of this table".into(),
        }
        .into());
    }
    // The lock is ours: what was cut short is nobody's.
    let folder = RunFolder::open(folder.path())?;
    let report = match folder.report()? {
        Some(report) => report,
        None => experiments::run_in(settings, &folder, manner)?,
    };
    for method in report.methods.iter().filter(|method| !method.ok) {
        tracing::warn!("{} in {}: {}", method.name, folder.path().display(), method.status);
    }
    Ok(Some(report.methods))
}

fn gather(
    table: TableName,
    cells: &[Cell],
    runs: &[(Settings, f64)],
    done: &[Vec<Option<Vec<MethodReport>>>],
    all: usize,
) -> Reproduced {
    let fill = |cell: &Cell| {
        let run = runs.iter().position(|(settings, _)| *settings == cell.settings);
        let seeds = run.into_iter().flat_map(|run| done[run].iter().flatten());
        let reports = seeds.filter_map(|methods| methods.iter().find(|m| m.name == cell.method));
        let ours = reports.filter(|report| report.ok).filter_map(|r| cell.quantity.of(r)).collect();
        Filled { row: cell.row, column: cell.column, paper: cell.paper, ours }
    };
    let finished = done.iter().flatten().flatten().count();
    Reproduced { table, cells: cells.iter().map(fill).collect(), left: all - finished }
}

/// The cells of a run, for a person.
fn label(cells: &[Cell], settings: &Settings) -> String {
    let mut names: Vec<String> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.settings == *settings) {
        let name = format!("{} {}", cell.row, cell.column);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        1..=2 => names.join(", "),
        n => format!("{}, {} and {} more", names[0], names[1], n - 2),
    }
}
