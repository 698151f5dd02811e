//! The experiments, a folder each, and what they share.
//!
//! ```text
//! arguments -> Settings -> prepare: data read, backend there -> Experiment -> Run: one method after the other -> reports
//! ```
//!
//! Settings are values that `settings.toml` holds, the whole of a run: from them and the checkpoint beside them
//! [`resume`] goes on with a run that was cut short, as if it had not been. A new experiment is a folder here,
//! a variant of [`Settings`] and one of the command line's `Experiment`.

mod checkpoint;
pub mod images;
mod run;

pub mod hpo;
pub mod hyper_cleaning;
pub mod importance;
pub mod poisoning;
pub mod robust;

pub use run::{Run, Trial};

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::checkpoint::Checkpoint;
use self::robust::Subject;
use crate::error::BenchError;
use crate::report::folder::{HeldFolder, RunFolder, default_name, settings_table};
use crate::report::{MethodReport, ReportError, RunReport};
use crate::settings::absolute;

/// The settings of an experiment, complete and checked: `settings.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "experiment", rename_all = "kebab-case")]
pub enum Settings {
    /// One weight a training sample.
    HyperCleaning(hyper_cleaning::Settings),
    /// The same under a network that sees batches.
    Importance(importance::Settings),
    /// Samples that make a classifier err.
    Poisoning(poisoning::Settings),
    /// A weight for each loss.
    Mwn(robust::Settings),
    /// The transition matrix of labels.
    Mlc(robust::Settings),
    /// Hyperparameters, against grid and random search.
    Hpo(hpo::Settings),
}

/// An experiment whose data and settings have been found sound.
pub trait Experiment: Send {
    /// Runs all methods, by [`Run::method`]. One that fails is reported as such, and the others go on.
    ///
    /// # Errors
    /// If the library refuses a setting, or results cannot be written.
    fn run(self: Box<Self>, run: &mut Run) -> Result<Vec<MethodReport>, BenchError>;
}

impl Settings {
    /// The experiment's name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HyperCleaning(_) => "hyper-cleaning",
            Self::Importance(_) => "importance",
            Self::Poisoning(_) => "poisoning",
            Self::Mwn(_) => Subject::Weights.name(),
            Self::Mlc(_) => Subject::Transition.name(),
            Self::Hpo(_) => "hpo",
        }
    }

    /// The seed of all randomness.
    pub fn seed(&self) -> u64 {
        match self {
            Self::HyperCleaning(settings) => settings.seed,
            Self::Importance(settings) => settings.seed,
            Self::Poisoning(settings) => settings.seed,
            Self::Mwn(settings) | Self::Mlc(settings) => settings.seed,
            Self::Hpo(settings) => settings.seed,
        }
    }

    /// The same under another seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        match &mut self {
            Self::HyperCleaning(settings) => settings.seed = seed,
            Self::Importance(settings) => settings.seed = seed,
            Self::Poisoning(settings) => settings.seed = seed,
            Self::Mwn(settings) | Self::Mlc(settings) => settings.seed = seed,
            Self::Hpo(settings) => settings.seed = seed,
        }
        self
    }

    /// The same, to be gone on with from anywhere: paths are absolute, and `auto` is the backend that it picks now.
    ///
    /// # Errors
    /// If a path is empty, or the backend not there.
    pub fn settled(mut self) -> Result<Self, BenchError> {
        let (data_dir, backend) = match &mut self {
            Self::HyperCleaning(settings) => (&mut settings.data_dir, &mut settings.backend),
            Self::Importance(settings) => (&mut settings.data_dir, &mut settings.backend),
            Self::Poisoning(settings) => (&mut settings.data_dir, &mut settings.backend),
            Self::Mwn(settings) | Self::Mlc(settings) => {
                if let Some(file) = &mut settings.human_labels {
                    *file = absolute("--human-labels", file)?;
                }
                (&mut settings.data_dir, &mut settings.backend)
            }
            Self::Hpo(settings) => (&mut settings.data_dir, &mut settings.backend),
        };
        if let Some(dir) = data_dir {
            *dir = absolute("--data-dir", dir)?;
        }
        *backend = backend.resolve()?;
        Ok(self)
    }

    /// Reads the data, and asks whether the backend is there.
    ///
    /// # Errors
    /// If the data, the backend or a setting cannot be used.
    pub fn prepare(&self) -> Result<Box<dyn Experiment>, BenchError> {
        Ok(match self {
            Self::HyperCleaning(settings) => Box::new(hyper_cleaning::prepare(settings.clone())?),
            Self::Importance(settings) => Box::new(importance::prepare(settings.clone())?),
            Self::Poisoning(settings) => Box::new(poisoning::prepare(settings.clone())?),
            Self::Mwn(settings) => Box::new(robust::prepare(settings.clone(), Subject::Weights)?),
            Self::Mlc(settings) => {
                Box::new(robust::prepare(settings.clone(), Subject::Transition)?)
            }
            Self::Hpo(settings) => Box::new(hpo::prepare(settings.clone())?),
        })
    }
}

/// How a run goes about it; not what comes out of it.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Whether a terminal shows how far it is.
    pub progress: bool,
    /// The time between two checkpoints within a method.
    pub save_every: Duration,
}

/// Runs an experiment in a folder of its own under `root`.
///
/// # Errors
/// See [`BenchError`]. What is wrong with data, backend or settings is seen before there is a folder.
pub fn start(
    settings: &Settings,
    root: &Path,
    manner: Manner,
) -> Result<(RunFolder, RunReport), BenchError> {
    let settings = settings.clone().settled()?;
    let experiment = settings.prepare()?;
    // Before the run: hours of work should not end at a folder that cannot be written.
    let folder = RunFolder::create(root, &default_name(settings.name(), settings.seed()))?;
    let report = begin(&settings, experiment, folder.hold()?, manner)?;
    Ok((folder, report))
}

/// Goes on with the run of a folder, from its checkpoint: the same numbers, bit for bit, as if it had not been
/// cut short; on the CPU, where the same settings give the same bits. A run that is complete is read.
///
/// # Errors
/// See [`BenchError`]; where another process is at the run, [`ReportError::Busy`].
pub fn resume(folder: &RunFolder, manner: Manner) -> Result<RunReport, BenchError> {
    if let Some(report) = complete(folder)? {
        return Ok(report);
    }
    go_on(folder.hold()?, manner)
}

/// Runs an experiment in a folder that is there, or goes on with it where it was begun.
///
/// # Errors
/// See [`BenchError`].
pub fn run_in(
    settings: &Settings,
    folder: HeldFolder,
    manner: Manner,
) -> Result<RunReport, BenchError> {
    if folder.read_file("settings.toml")?.is_some() {
        return go_on(folder, manner);
    }
    begin(settings, settings.prepare()?, folder, manner)
}

/// The report of a run that is complete; none where it is not.
///
/// # Errors
/// Where the folder cannot be read.
pub fn complete(folder: &RunFolder) -> Result<Option<RunReport>, ReportError> {
    let report = folder.report()?;
    // A process that was killed at the very end of its run has left what is not needed any more.
    if report.is_some()
        && folder.was_held()
        && let Some(folder) = folder.try_hold()?
    {
        Checkpoint::remove(&folder)?;
    }
    Ok(report)
}

fn begin(
    settings: &Settings,
    experiment: Box<dyn Experiment>,
    folder: HeldFolder,
    manner: Manner,
) -> Result<RunReport, BenchError> {
    folder.write_settings(settings)?;
    finish(settings, experiment, Run::new(folder, manner))
}

fn go_on(folder: HeldFolder, manner: Manner) -> Result<RunReport, BenchError> {
    // Whoever had the folder until now may have completed it.
    if let Some(report) = folder.report()? {
        Checkpoint::remove(&folder)?;
        return Ok(report);
    }
    let settings: Settings = folder.settings()?;
    let experiment = settings.prepare()?;
    finish(&settings, experiment, Run::resume(folder, manner)?)
}

fn finish(
    settings: &Settings,
    experiment: Box<dyn Experiment>,
    mut run: Run,
) -> Result<RunReport, BenchError> {
    let report = RunReport {
        experiment: settings.name().into(),
        seed: settings.seed(),
        methods: experiment.run(&mut run)?,
        settings: settings_table(settings)?,
    };
    run.end(&report)?;
    Ok(report)
}
