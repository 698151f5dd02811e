//! An experiment with several seeds: a run for each in its own folder, and their joint results.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Table;

use super::{
    Accepted, Complete, Manner, Origin, any_result, changed, complete, origin_of, run_in,
    settings_of,
};
use crate::error::BenchError;
use crate::progress::note;
use crate::report::folder::RunFolder;
use crate::report::seeds::Together;
use crate::report::{ReportError, RunReport};

/// `settings.toml` of the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The number of seeds, from that of the run on.
    #[serde(deserialize_with = "crate::settings::seeds")]
    seeds: u64,
    /// The settings with the first seed.
    run: Table,
    /// The origin of the runs; none in folders of early versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<Origin>,
}

/// Whether a folder's settings are those of several seeds.
pub fn is_seeds(settings: &Table) -> bool {
    settings.contains_key("seeds") && settings.contains_key("run")
}

/// Runs an experiment with `seeds` seeds in a new folder under `root`.
///
/// # Errors
/// See [`BenchError`]. Errors in data, device or settings are found before the folder is created.
pub fn start(
    settings: &Complete,
    seeds: u64,
    root: &Path,
    manner: Manner,
) -> Result<(RunFolder, Together), BenchError> {
    let origin = origin_of([settings], manner)?;
    let made_by = Some(Origin { probes: settings.probes, ..origin });
    let name = format!("{}-{}-seeds-{seeds}", settings.experiment.name, settings.seed());
    let folder = RunFolder::create(root, &name)?;
    folder.write_settings(&Settings { seeds, run: settings.table(), made_by })?;
    let together = make(&folder, settings, seeds, None, manner)?;
    Ok((folder, together))
}

/// Makes the missing runs, and writes the joint results. Several processes may work on one folder, each on different
/// runs.
///
/// # Errors
/// See [`BenchError`].
pub fn resume(folder: &RunFolder, manner: Manner) -> Result<Together, BenchError> {
    let Settings { seeds, run, made_by } = folder.settings()?;
    let began = made_by.unwrap_or_else(Origin::unknown);
    make(folder, &Complete::read(run)?, seeds, Some(began), manner)
}

/// [`resume`] of a folder that began elsewhere, or of a new one.
fn make(
    folder: &RunFolder,
    first: &Complete,
    seeds: u64,
    mut began: Option<Origin>,
    manner: Manner,
) -> Result<Together, BenchError> {
    let is_new = !any_result(of(first, seeds).map(|seed| folder.inner(&name(seed))))?;
    let mut accepted = Accepted::default();
    for seed in of(first, seeds) {
        let inner = folder.inner(&name(seed));
        inner.make()?;
        let settings = first.clone().with_seed(seed);
        if inner.read_file("settings.toml")?.is_some() && settings_of(&inner)? != settings {
            let what = "a run with other settings".into();
            return Err(ReportError::Damaged { path: inner.path().into(), what }.into());
        }
        if complete(&inner)?.is_some() {
            continue;
        }
        let Some(held) = inner.try_hold()? else { continue };
        if let Some(began) = began.take() {
            let here = origin_of([first], manner)?;
            accepted = began.resumed(here, folder, manner.accept_changes, is_new)?;
        }
        if manner.progress {
            note(format_args!("seed {seed}, {} of {seeds}", seed - first.seed() + 1));
        }
        run_in(&settings, held, accepted.clone(), manner)
            .map_err(|error| error.of_folder(folder.path()))?;
    }
    let together = read(folder)?;
    together.write(folder)?;
    Ok(together)
}

/// The results of the runs of a folder, as far as they are done.
///
/// # Errors
/// If a run cannot be read.
pub fn read(folder: &RunFolder) -> Result<Together, BenchError> {
    let warning = changed(&folder.settings()?);
    let Settings { seeds, run, .. } = folder.settings()?;
    let first = Complete::read(run)?;
    let mut reports: Vec<RunReport> = Vec::new();
    for seed in of(&first, seeds) {
        reports.extend(folder.inner(&name(seed)).report_with_series()?);
    }
    Ok(Together { experiment: first.experiment.name.into(), seeds, runs: reports, warning })
}

fn of(first: &Complete, seeds: u64) -> impl Iterator<Item = u64> + use<> {
    let seed = first.seed();
    seed..seed.saturating_add(seeds)
}

/// The folder of a seed.
pub(crate) fn name(seed: u64) -> String {
    format!("seed-{seed}")
}
