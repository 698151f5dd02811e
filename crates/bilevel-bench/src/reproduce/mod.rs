//! `bilevel reproduce`: the tables of papers, with our figures beside theirs.
//!
//! A table is a list of [`Cell`]s; a cell says which run gives its figure. Equal runs are made once, each in its own
//! folder under `runs/`, where it can be interrupted and resumed like any other. Existing results are read, so that a
//! table is completed by calling `bilevel resume` until nothing is left; several processes may work on one table at the
//! same time, each on different runs. A run that failed counts as done, and is shown as failed.

mod curves;
mod figure;
mod paper;
mod remaining_time;
mod render;
#[cfg(test)]
mod tests;

pub use paper::{TABLES, TableName};
pub use render::text;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use self::remaining_time::RemainingTime;

use crate::error::BenchError;
use crate::experiments::{
    self, Accepted, Complete, Manner, Origin, any_result, changed, origin_of, settings_of,
};
use crate::report::folder::RunFolder;
use crate::report::{MethodReport, ReportError};
use crate::settings::Count;

/// The key of `settings.toml` that names the table.
pub(crate) const KEY: &str = "reproduce";

/// The size of a reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The paper's data and sizes; needs --data-dir
    Full,
    /// The same protocol on the embedded digits, in minutes
    Small,
}

/// A data set that a paper has figures of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSet {
    /// Handwritten digits
    Mnist,
    /// Pieces of clothing
    FashionMnist,
    /// Small photographs of ten kinds of things
    #[value(name = "cifar-10")]
    #[serde(rename = "cifar-10")]
    Cifar10,
}

/// What is reproduced: `settings.toml` of its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reproduction {
    /// The table.
    pub reproduce: TableName,
    /// The size.
    pub preset: Preset,
    /// The number of seeds, from 0.
    #[serde(deserialize_with = "crate::settings::seeds")]
    pub seeds: u64,
    /// The location of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<std::path::PathBuf>,
    /// The data set whose figures of the paper are shown beside ours, if it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_set: Option<DataSet>,
    /// Upper steps of each method, instead of the paper's, if the table supports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_steps: Option<Count>,
    /// Where to compute.
    pub device: crate::backend::DeviceName,
    /// The origin of its runs; none in folders of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made_by: Option<Origin>,
}

impl Reproduction {
    /// The same, made from the data here.
    ///
    /// # Errors
    /// If the data cannot be read.
    pub fn made_here(self, manner: Manner) -> Result<Self, BenchError> {
        let made_by = Some(self.origin(manner)?);
        Ok(Self { made_by, ..self })
    }

    /// The origin of its runs, if they were made here.
    fn origin(&self, manner: Manner) -> Result<Origin, BenchError> {
        let cells = self.reproduce.cells(self)?;
        origin_of(cells.iter().map(|cell| &cell.settings), manner)
    }
}

/// A figure of a paper, and the run that gives ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The row, usually a method.
    pub row: &'static str,
    /// The column.
    pub column: &'static str,
    /// The paper's figure, in per cent if it is a share.
    pub paper: Option<f64>,
    /// The run, whatever its seed.
    pub settings: Complete,
    /// The method in the report of the run.
    pub method: &'static str,
    /// The quantity.
    pub quantity: Quantity,
    /// The cost of the run in any unit, so that cheap runs come first.
    pub cost: f64,
}

/// The quantity of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// In per cent.
    TestAccuracy,
    /// Of detecting the wrong labels, in per cent.
    F1,
    /// Of keeping the correct labels, in per cent.
    F1Clean,
    /// The time of an upper step.
    SecondsPerStep,
    /// One of [`MethodReport::figures`], unchanged.
    Figure(&'static str),
}

impl Quantity {
    fn of(self, report: &MethodReport) -> Option<f64> {
        match self {
            Self::TestAccuracy => report.test_accuracy.map(|share| 100.0 * share),
            Self::F1 => report.f1().map(|share| 100.0 * share),
            Self::F1Clean => report.detection.map(|detection| 100.0 * detection.f1_clean),
            Self::SecondsPerStep => Some(report.seconds / report.series.len().max(1) as f64),
            Self::Figure(name) => report.figures.get(name).copied(),
        }
    }
}

/// A cell with our figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filled {
    /// The row.
    pub row: &'static str,
    /// The column.
    pub column: &'static str,
    /// The paper's figure.
    pub paper: Option<f64>,
    /// Ours, by seed: of the runs that ended well.
    pub ours: Vec<f64>,
    /// Runs that are done but gave no figure; [`Reproduced::failures`] says why.
    pub failed: usize,
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

/// A method without a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The folder of the run, in that of the table.
    pub run: String,
    /// The method.
    pub method: &'static str,
    /// How it ended.
    pub status: String,
}

/// A table, as complete as its runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reproduced {
    /// Its name.
    pub table: TableName,
    /// The cells, in the paper's order.
    pub cells: Vec<Filled>,
    /// The failures among the finished runs.
    pub failures: Vec<Failure>,
    /// Runs that are not done.
    pub left: usize,
    /// That version or data changed among the runs, if one did.
    pub warning: Option<String>,
}

impl Reproduced {
    /// The rows, in the paper's order.
    fn rows(&self) -> Vec<&'static str> {
        distinct(self.cells.iter().map(|cell| cell.row))
    }

    /// The columns, in the paper's order.
    fn columns(&self) -> Vec<&'static str> {
        distinct(self.cells.iter().map(|cell| cell.column))
    }

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

/// A run of a table with one seed.
#[derive(Clone, Debug, PartialEq)]
struct Planned {
    settings: Complete,
    seed: u64,
    /// Its folder, in that of the table.
    folder: String,
    cost: f64,
}

impl Planned {
    /// Whether a figure of the cell comes from this run.
    fn gives(&self, cell: &Cell) -> bool {
        self.settings == cell.settings.clone().with_seed(self.seed)
    }
}

/// The runs of the cells, in order: a first seed of every cell and further seeds of cheap cells come first, so that an
/// interrupted table is useful.
fn plan(cells: &[Cell], seeds: u64) -> Vec<Planned> {
    let mut distinct: Vec<&Cell> = Vec::new();
    for cell in cells {
        if distinct.iter().all(|known| known.settings != cell.settings) {
            distinct.push(cell);
        }
    }
    let numbered = distinct.iter().enumerate();
    let mut runs: Vec<Planned> = numbered
        .flat_map(|(at, cell)| {
            (0..seeds).map(move |seed| Planned {
                settings: cell.settings.clone().with_seed(seed),
                seed,
                folder: format!("runs/{at:02}-{seed}"),
                cost: cell.cost,
            })
        })
        .collect();
    let turn = |run: &Planned| run.cost * (run.seed + 1) as f64;
    runs.sort_by(|a, b| turn(a).total_cmp(&turn(b)));
    runs
}

/// Makes the missing runs of a table in its folder, and writes the table after each run.
///
/// # Errors
/// See [`BenchError`].
pub fn fill(
    reproduction: &Reproduction,
    folder: &RunFolder,
    manner: Manner,
) -> Result<Reproduced, BenchError> {
    let table = reproduction.reproduce;
    let cells = table.cells(reproduction)?;
    let runs = plan(&cells, reproduction.seeds);
    let (mut pace, mut ran) = (RemainingTime::default(), false);
    let mut began = Some(reproduction.made_by.clone().unwrap_or_else(Origin::unknown));
    let is_new = !any_result(runs.iter().map(|run| folder.inner(&run.folder)))?;
    let mut accepted = Accepted::default();
    for (at, run) in runs.iter().enumerate() {
        let inner = folder.inner(&run.folder);
        inner.make()?;
        if inner.read_file("settings.toml")?.is_some() && settings_of(&inner)? != run.settings {
            let what = "a run of another version of this table".into();
            return Err(ReportError::Damaged { path: inner.path().into(), what }.into());
        }
        if experiments::complete(&inner)?.is_some() {
            continue;
        }
        // Another process may be running it.
        let Some(held) = inner.try_hold()? else { continue };
        ran = true;
        if let Some(began) = began.take() {
            let here = reproduction.origin(manner)?;
            accepted = began.resumed(here, folder, manner.accept_changes, is_new)?;
        }
        if manner.progress {
            let mut left = 0.0;
            for run in &runs[at..] {
                left += if folder.inner(&run.folder).report()?.is_none() { run.cost } else { 0.0 };
            }
            let label = label(&cells, run);
            let pace = pace.describe(left);
            crate::progress::note(format_args!("run {} of {}: {label}{pace}", at + 1, runs.len()));
        }
        let (begun, fresh) = (Instant::now(), held.read_file("settings.toml")?.is_none());
        let report = experiments::run_in(&run.settings, held, accepted.clone(), manner)?;
        for method in report.methods.iter().filter(|method| !method.ok) {
            tracing::warn!("{} in {}: {}", method.name, inner.path().display(), method.status);
        }
        // For a resumed run, the seconds of another process are not known.
        if fresh {
            pace.add(run.cost, begun.elapsed());
        }
        write(table, &cells, &runs, folder)?;
    }
    match write(table, &cells, &runs, folder) {
        // Nothing is new: for a table on a read-only disk there is nothing to write.
        Err(error) if !ran => {
            tracing::warn!("the table is read and not written anew: {error}");
            Ok(gathered(table, &cells, &runs, folder, &read(&runs, folder)?)?)
        }
        written => Ok(written?),
    }
}

/// Writes the table and the page of a folder again, as far as its runs are done.
///
/// # Errors
/// If it is not the folder of a table, or cannot be read or written.
pub fn report(folder: &RunFolder) -> Result<(), BenchError> {
    let reproduction: Reproduction = folder.settings()?;
    let cells = reproduction.reproduce.cells(&reproduction)?;
    let runs = plan(&cells, reproduction.seeds);
    write(reproduction.reproduce, &cells, &runs, folder)?;
    Ok(())
}

/// The number of runs that the table of a folder lacks.
///
/// # Errors
/// If it is not the folder of a table, or a run cannot be read.
pub fn left(folder: &RunFolder) -> Result<usize, BenchError> {
    let reproduction: Reproduction = folder.settings()?;
    let cells = reproduction.reproduce.cells(&reproduction)?;
    let mut left = 0;
    for run in plan(&cells, reproduction.seeds) {
        left += usize::from(folder.inner(&run.folder).report()?.is_none());
    }
    Ok(left)
}

/// The results of each run so far.
fn read(
    runs: &[Planned],
    folder: &RunFolder,
) -> Result<Vec<Option<Vec<MethodReport>>>, ReportError> {
    let done = runs.iter().map(|run| {
        let report = folder.inner(&run.folder).report_with_series()?;
        Ok(report.map(|report| report.methods))
    });
    done.collect()
}

/// Writes the table as far as its runs are done, whichever process made them.
fn write(
    table: TableName,
    cells: &[Cell],
    runs: &[Planned],
    folder: &RunFolder,
) -> Result<Reproduced, ReportError> {
    // One process at a time, so that the last table written contains all results.
    let folder = folder.wait_to_hold()?;
    let done = read(runs, &folder)?;
    let reproduced = gathered(table, cells, runs, &folder, &done)?;
    render::write(&reproduced, &folder)?;
    if let Some(svg) = curves::svg(cells, runs, &done)? {
        folder.write_file("curves.svg", svg.as_bytes())?;
    }
    render::page(&reproduced, &folder)?.write(&folder)?;
    Ok(reproduced)
}

/// The table of the results of a folder so far.
fn gathered(
    table: TableName,
    cells: &[Cell],
    runs: &[Planned],
    folder: &RunFolder,
    done: &[Option<Vec<MethodReport>>],
) -> Result<Reproduced, ReportError> {
    let warning = changed(&folder.settings()?);
    Ok(Reproduced { warning, ..gather(table, cells, runs, done) })
}

/// The same, whatever the data.
fn gather(
    table: TableName,
    cells: &[Cell],
    runs: &[Planned],
    done: &[Option<Vec<MethodReport>>],
) -> Reproduced {
    let mut failures: Vec<Failure> = Vec::new();
    let fill = |cell: &Cell| {
        let mut filled = Filled {
            row: cell.row,
            column: cell.column,
            paper: cell.paper,
            ours: Vec::new(),
            failed: 0,
        };
        for (run, methods) in runs.iter().zip(done).filter(|(run, _)| run.gives(cell)) {
            let Some(methods) = methods else { continue };
            let report = methods.iter().find(|method| method.name == cell.method);
            let figure = report.filter(|report| report.ok).and_then(|r| cell.quantity.of(r));
            if let Some(figure) = figure.filter(|figure| figure.is_finite()) {
                filled.ours.push(figure);
                continue;
            }
            filled.failed += 1;
            let status = match report {
                None => "not in the report of the run".to_owned(),
                Some(report) if report.ok => format!("{}, without this figure", report.status),
                Some(report) => report.status.clone(),
            };
            let failure = Failure { run: run.folder.clone(), method: cell.method, status };
            // One run gives several cells.
            if !failures.contains(&failure) {
                failures.push(failure);
            }
        }
        filled
    };
    let cells = cells.iter().map(fill).collect();
    let left = done.iter().filter(|done| done.is_none()).count();
    Reproduced { table, cells, failures, left, warning: None }
}

/// Each once, in order of first occurrence.
fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

/// The cells of a run and its seed, as text.
fn label(cells: &[Cell], run: &Planned) -> String {
    let given = cells.iter().filter(|cell| run.gives(cell));
    let names = distinct(given.map(|cell| format!("{} {}", cell.row, cell.column)));
    let names = match names.len() {
        1..=2 => names.join(", "),
        n => format!("{}, {} and {} more", names[0], names[1], n - 2),
    };
    format!("{names}, seed {}", run.seed)
}
