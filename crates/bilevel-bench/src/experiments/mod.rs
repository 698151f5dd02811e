//! The experiments, one folder each, and what they share.
//!
//! ```text
//! defaults, --config, flags -> settings -> data read -> one method after the other -> reports
//! ```
//!
//! Settings are values stored in `settings.toml`, which determine the whole run: with them and the checkpoint beside
//! them [`resume`] completes an interrupted run as if it had not been interrupted. A new experiment is a folder here
//! and a line of [`EXPERIMENTS`].

mod auto;
mod checkpoint;
mod derivatives;
pub mod images;
mod looks;
pub mod networks;
mod origin;
mod own_table;
mod partly;
pub mod posed;
mod registry;
mod remembered;
mod run;
pub mod seeds;
mod shared;

pub mod actor_critic;
pub mod clean;
pub mod denoising;
pub mod dictionary;
pub mod distillation;
pub mod few_shot;
pub mod gan;
pub mod hpo;
pub mod hyper_cleaning;
pub mod importance;
pub mod nas;
pub mod poisoning;
pub mod robust;
pub mod sinusoid;

pub use auto::Auto;
pub(crate) use partly::{Left, Partly, RUNS};
pub use registry::{Complete, EXPERIMENTS, Experiment, Prepared, Registered, read_config};
pub(crate) use run::is_usable;
pub use run::{Run, Trial};
use shared::Shared;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::Vacant;
use std::path::Path;
use std::time::Duration;

use bilevel_core::{Group, Objective};
use bilevel_data::digest;
use bilevel_program::Report;
use toml::Table;

use self::checkpoint::Checkpoint;
pub(crate) use self::origin::{Accepted, ORIGIN, Origin, changed, probes};
use crate::error::BenchError;
use crate::interrupt;
use crate::progress::Bar;
use crate::report::folder::{LockedFolder, RunFolder, SUMMARY, default_name, settings_table};
use crate::report::{ReportError, RunReport};
use crate::settings::{AUTO, refuse};

/// The result of a check of derivatives, for each loss.
pub type Checked = Vec<(Objective, Report)>;

/// How a run is executed; except for data that changed, its results do not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Whether progress is shown on a terminal.
    pub progress: bool,
    /// The time between two checkpoints within a method.
    pub save_every: Duration,
    /// The processes that share the run.
    pub ranks: &'static dyn Group,
    /// Whether a run is resumed on other data than that with which it began.
    pub accept_changes: bool,
}

/// Runs an experiment in a new folder under `root`.
///
/// # Errors
/// See [`BenchError`]. Errors in data, device or settings are found before the folder is created.
pub fn start(
    settings: &Complete,
    root: &Path,
    manner: Manner,
) -> Result<(RunFolder, RunReport), BenchError> {
    let experiment = prepare(settings, manner)?;
    // Before the run: hours of work should not end with a folder that cannot be written.
    let name = default_name(settings.experiment.name, settings.seed());
    let folder = Shared::create(root, &name, manner.ranks)?;
    let report = begin(settings, &experiment, folder.hold()?, Accepted::default(), manner)?;
    Ok((folder.of_run(), report))
}

/// Completes the run of a folder from its checkpoint: on the CPU with the same numbers, bit for bit, as an
/// uninterrupted run. A complete run is read.
///
/// # Errors
/// See [`BenchError`]; if another process works on the run, [`ReportError::Busy`].
pub fn resume(folder: &RunFolder, manner: Manner) -> Result<RunReport, BenchError> {
    if let Some(report) = complete(folder)? {
        return Ok(report);
    }
    go_on(folder.hold()?, Accepted::default(), manner)
}

/// [`resume`] on several ranks. Rank 0 reads the folder, and sends its contents to the others, which need not see it.
///
/// # Errors
/// The same, and if it is not the folder of a run.
pub fn resume_on_ranks(path: &Path, manner: Manner) -> Result<(RunFolder, RunReport), BenchError> {
    let (folder, held) = Shared::open(path, manner.ranks)?;
    let report = go_on(held, Accepted::default(), manner)?;
    Ok((folder.of_run(), report))
}

/// Runs an experiment in an existing folder, or resumes it there. Its first result comes from the origin `around`, which
/// is that of the folder around it.
///
/// # Errors
/// See [`BenchError`].
pub(crate) fn run_in(
    settings: &Complete,
    folder: LockedFolder,
    around: Accepted,
    manner: Manner,
) -> Result<RunReport, BenchError> {
    if folder.read_file("settings.toml")?.is_some() {
        return go_on(folder, around, manner);
    }
    begin(settings, &prepare(settings, manner)?, folder, around, manner)
}

/// Whether one of these runs has results, or may have some soon, since another process is at it.
///
/// # Errors
/// If the file system fails.
pub(crate) fn any_result(runs: impl IntoIterator<Item = RunFolder>) -> Result<bool, ReportError> {
    for run in runs {
        let has = |name| run.path().join(name).exists();
        let at_work = || Ok::<_, ReportError>(has("settings.toml") && run.try_hold()?.is_none());
        if has(SUMMARY) || Checkpoint::exists(&run) || at_work()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the data.
fn prepare(settings: &Complete, manner: Manner) -> Result<Prepared, BenchError> {
    let reading = match manner.progress {
        true => Bar::phase(settings.experiment.name, "reading data"),
        false => Bar::hidden(),
    };
    let prepared = settings.prepare();
    reading.clear();
    prepared
}

/// The origin of several runs. Data that several of them read is read once.
pub(crate) fn origin_of<'a>(
    runs: impl IntoIterator<Item = &'a Complete>,
    manner: Manner,
) -> Result<Origin, BenchError> {
    let mut read = BTreeMap::new();
    for run in runs {
        if let Vacant(new) = read.entry(run.source()) {
            new.insert(prepare(run, manner)?.data());
        }
    }
    let all: Vec<String> = read.into_values().collect();
    Ok(Origin::here(match &all[..] {
        [one] => one.clone(),
        _ => digest(&all.concat().into_bytes()),
    }))
}

/// The settings of a run's folder.
///
/// # Errors
/// If there are none, or they cannot be read.
pub fn settings_of(folder: &RunFolder) -> Result<Complete, ReportError> {
    Ok(read_settings(folder)?.0)
}

/// The settings of a run's folder, and its origin.
fn read_settings(folder: &RunFolder) -> Result<(Complete, Origin), ReportError> {
    let damaged = |what: String| {
        let path = folder.path().join("settings.toml");
        ReportError::Damaged { path, what }
    };
    let mut table: Table = folder.settings()?;
    let origin = table.remove(ORIGIN).ok_or_else(|| {
        damaged(format!("no `{ORIGIN}`, which this version writes: the run was made by another"))
    })?;
    let origin = origin.try_into().map_err(|e: toml::de::Error| damaged(e.message().into()))?;
    Ok((Complete::read(table).map_err(|error| damaged(error.to_string()))?, origin))
}

/// The report of a complete run; none if it is not complete.
///
/// # Errors
/// If the folder cannot be read.
pub fn complete(folder: &RunFolder) -> Result<Option<RunReport>, ReportError> {
    let report = folder.report()?;
    // A process that was killed at the very end of its run has left files that are no longer needed. On a read-only
    // disk they stay, and do no harm.
    if report.is_some()
        && folder.was_held()
        && let Ok(Some(folder)) = folder.try_hold()
    {
        let _ = Checkpoint::remove(&folder);
    }
    Ok(report)
}

fn begin(
    settings: &Complete,
    experiment: &Prepared,
    folder: LockedFolder,
    around: Accepted,
    manner: Manner,
) -> Result<RunReport, BenchError> {
    if settings.is_open() {
        let cure = "call `Complete::chosen` before";
        return Err(refuse("--method or --step-size", AUTO, "what was chosen in its place", cure));
    }
    let mut table = settings.table();
    let origin = Origin { probes: settings.probes, ..Origin::here(experiment.data()) };
    table.insert(ORIGIN.into(), settings_table(&origin)?.into());
    interrupt::after_step();
    folder.write_settings(&table)?;
    finish(settings, experiment, Run::new(folder, manner)?.from([around]))
}

fn go_on(folder: LockedFolder, around: Accepted, manner: Manner) -> Result<RunReport, BenchError> {
    // The previous owner of the folder may have completed it.
    if let Some(report) = folder.report()? {
        Checkpoint::remove(&folder)?;
        return Ok(report);
    }
    let (settings, began) = read_settings(&folder)?;
    let experiment = prepare(&settings, manner)?;
    let checkpoint = Checkpoint::read(&folder)?;
    let is_new = checkpoint == Checkpoint::default();
    let here = Origin::here(experiment.data());
    let own = began.resumed(here, &folder, manner.accept_changes, is_new)?;
    interrupt::after_step();
    let run = match is_new {
        true => {
            tracing::warn!("no checkpoint was written: the run starts over");
            Run::new(folder, manner)?
        }
        false => Run::resume(folder, checkpoint, manner)?,
    };
    finish(&settings, &experiment, run.from([around, own]))
}

fn finish(
    settings: &Complete,
    experiment: &Prepared,
    mut run: Run,
) -> Result<RunReport, BenchError> {
    let report = RunReport {
        experiment: settings.experiment.name.into(),
        seed: settings.seed(),
        methods: experiment.run(&mut run)?,
        settings: run.folder().settings()?,
    };
    run.end(&report)?;
    Ok(report)
}
