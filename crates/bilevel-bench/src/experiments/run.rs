//! A run: methods one after the other, each from its checkpoint.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use bilevel_core::{
    Cost, Ending, Error, Executor, Group, LinearStatus, Outcome, Progress, Snapshot, Solver, Status,
};
use bilevel_program::Vector;
use burn::tensor::Device;

use super::Manner;
use super::checkpoint::{Checkpoint, Current, Saved};
use super::origin::{Accepted, fingerprint};
use crate::error::BenchError;
use crate::failure;
use crate::interrupt;
use crate::memory::Phase;
use crate::progress::Bar;
use crate::report::folder::{LockedFolder, RunFolder};
use crate::report::{MethodReport, ReportError, RunReport, StepRecord};

/// A run in its folder, which this process owns until the run is dropped.
pub struct Run {
    folder: LockedFolder,
    manner: Manner,
    checkpoint: Checkpoint,
    /// The origins of the folder and of that around it, which the next checkpoint comes from.
    accepted: Vec<Accepted>,
    saved_at: Instant,
    /// Shown until a method has a progress bar.
    preparing: Bar,
}

impl Run {
    pub(super) fn new(folder: LockedFolder, manner: Manner) -> Result<Self, ReportError> {
        let checkpoint = Checkpoint { settings: fingerprint(&folder)?, ..Checkpoint::default() };
        let preparing = Bar::hidden();
        let saved_at = Instant::now();
        Ok(Self { folder, manner, checkpoint, accepted: Vec::new(), saved_at, preparing })
    }

    pub(super) fn resume(
        folder: LockedFolder,
        checkpoint: Checkpoint,
        manner: Manner,
    ) -> Result<Self, ReportError> {
        let fresh = Self::new(folder, manner)?;
        let (began, here) = (&checkpoint.settings, &fresh.checkpoint.settings);
        if began != here {
            return Err(ReportError::Other {
                path: fresh.folder.path().into(),
                what: "settings",
                began: began.clone(),
                here: here.clone(),
            });
        }
        Ok(Self { checkpoint, ..fresh })
    }

    /// The same, whose next checkpoint comes from these origins.
    pub(super) fn from(self, accepted: impl IntoIterator<Item = Accepted>) -> Self {
        Self { accepted: accepted.into_iter().collect(), ..self }
    }

    /// Writes the checkpoint, after where it comes from.
    fn write(&mut self) -> Result<(), ReportError> {
        self.accepted.iter_mut().try_for_each(Accepted::write)?;
        self.checkpoint.write(&self.folder)
    }

    /// Writes all results; files that are needed only for resuming are removed.
    pub(super) fn end(&self, report: &RunReport) -> Result<(), ReportError> {
        self.folder.write(report)?;
        Checkpoint::remove(&self.folder)
    }

    /// The folder for files of the run, such as figures.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The processes that share the run.
    pub fn ranks(&self) -> &'static dyn Group {
        self.manner.ranks
    }

    /// Ends the run if a signal requests it; the state so far is in the checkpoint.
    fn go_on(&self) -> Result<(), BenchError> {
        let Some(signal) = interrupt::asked() else { return Ok(()) };
        let Checkpoint { done, current, .. } = &self.checkpoint;
        let kept = !done.is_empty() || current.is_some();
        Err(BenchError::Interrupted { signal, folder: self.folder.path().into(), kept })
    }

    /// Runs one method, unless the checkpoint has its result. Its memory is measured from here on; a failure is
    /// reported as such.
    ///
    /// # Errors
    /// If the library refuses a setting, or on any error outside the library.
    pub fn method(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut Trial<'_>) -> Result<(), BenchError>,
    ) -> Result<MethodReport, BenchError> {
        if let Some(done) = self.checkpoint.done.iter().find(|done| done.name() == name) {
            return Ok(done.report());
        }
        self.go_on()?;
        let resumed = self.checkpoint.current.take_if(|current| current.saved.name() == name);
        let fresh = MethodReport { name: name.into(), ok: true, ..MethodReport::default() };
        let report = resumed.as_ref().map_or(fresh, |current| current.saved.report());
        let before = report.oracle_calls.clone();
        let phase = Phase::start();
        self.saved_at = Instant::now();
        if self.manner.progress {
            self.preparing = Bar::phase(name, "preparing");
        }
        let mut trial = Trial { run: self, report, before, resumed };
        let outcome = run(&mut trial);
        let mut report = trial.report;
        self.preparing.clear();
        match outcome {
            Err(error) if ends_method(&error) && !of_one_rank(&error, self.manner.ranks) => {
                report.ok = false;
                report.status = error.to_string();
            }
            other => other?,
        }
        failure::check()?;
        report.peak_memory = phase.peak();
        // JSON cannot represent the others.
        report.figures.retain(|_, figure| figure.is_finite());
        // The accuracy at the end belongs to the curve, if no step has it.
        let of_end = report.test_accuracy.filter(|_| !report.baseline);
        let last = report.series.last().and_then(|last| last.test_accuracy);
        if of_end.is_some() && of_end != last {
            report.series.push(StepRecord { retrained: true, ..report.end() });
        }
        self.checkpoint.current = None;
        self.checkpoint.done.push(Saved::new(&report));
        self.write()?;
        Ok(report)
    }
}

/// Whether this error ends only a method, such as a divergence; any other error ends the whole run.
pub(super) fn ends_method(error: &BenchError) -> bool {
    let BenchError::Core(error) = error else { return false };
    !matches!(
        error,
        Error::InvalidSetting { .. }
            | Error::Snapshot { .. }
            | Error::Group(_)
            | Error::Device { .. }
            | Error::Trace { error: bilevel_core::TraceError::TooLarge { .. }, .. }
    )
}

/// Whether other ranks may not have the error, because it was found on this rank's data. Then they continue, and the
/// run ends.
fn of_one_rank(error: &BenchError, ranks: &dyn Group) -> bool {
    ranks.size() > 1 && matches!(error, BenchError::Core(Error::NotFiniteAtStart { .. }))
}

/// Whether a hypergradient of this status can be used. That of a linear solver that stopped early can.
pub(crate) fn is_usable(status: &Status) -> bool {
    !matches!(
        status,
        Status::NoDescent { .. }
            | Status::NotFinite { .. }
            | Status::Implicit { solver: LinearStatus::Indefinite | LinearStatus::NotFinite, .. }
    )
}

/// One method of a run.
pub struct Trial<'a> {
    run: &'a mut Run,
    /// Its results so far.
    pub report: MethodReport,
    /// The oracle calls before this process.
    before: BTreeMap<String, u64>,
    resumed: Option<Current>,
}

impl Trial<'_> {
    /// A bar of `steps` steps with the method's name; hidden if progress is not shown.
    pub fn bar(&self, steps: usize) -> Bar {
        self.run.preparing.clear();
        if self.run.manner.progress { Bar::new(&self.report.name, steps) } else { Bar::hidden() }
    }

    /// The folder for files of the run.
    pub fn folder(&self) -> &RunFolder {
        self.run.folder()
    }

    /// The processes that share the run.
    pub fn ranks(&self) -> &'static dyn Group {
        self.run.ranks()
    }

    /// Sets the oracle calls: those of this process plus those before it.
    pub fn count(&mut self, cost: Cost) {
        self.report.oracle_calls = self.before.clone();
        for (kind, calls) in calls(cost) {
            *self.report.oracle_calls.entry(kind).or_default() += calls;
        }
    }

    /// Makes `steps` upper steps, including those before the checkpoint, and keeps series, seconds, calls and warnings.
    /// Generators are seeded with `seed` and the number of each step. `see` is called at each step and returns the
    /// quantities of its record that only the experiment knows, such as the accuracy, or an upper loss in place of that
    /// of the step; it also receives the x at which the step was taken, since a step reports that point and then moves
    /// on.
    ///
    /// # Errors
    /// The solver's, and if a checkpoint does not fit it or cannot be written.
    pub fn drive(
        &mut self,
        solver: &mut dyn Solver,
        steps: usize,
        seed: (u64, Device),
        mut see: impl FnMut(&Vector, &Progress<'_>) -> StepRecord,
    ) -> Result<Outcome, BenchError> {
        self.try_drive(solver, steps, seed, |at, progress| Ok(see(at, progress)))
    }

    /// [`Self::drive`], where an error of `see` ends the run.
    ///
    /// # Errors
    /// Those of [`Self::drive`], and that of `see`.
    pub fn try_drive(
        &mut self,
        solver: &mut dyn Solver,
        steps: usize,
        (seed, device): (u64, Device),
        mut see: impl FnMut(&Vector, &Progress<'_>) -> Result<StepRecord, BenchError>,
    ) -> Result<Outcome, BenchError> {
        let mut first = 0;
        if let Some(current) = self.resumed.take() {
            solver.restore(current.solver)?;
            first = current.step;
        }
        let seconds_before = self.report.seconds;
        let bar = self.bar(steps);
        bar.set_position(first as u64);
        let mut failed = None;
        let mut at = solver.x().clone();
        let outcome = Executor::new(steps)?
            .starting_at(first)?
            .with_seed(seed, device)
            .in_group(self.run.manner.ranks)
            .observe(|progress: &Progress<'_>| {
                self.report.seconds = seconds_before + progress.elapsed.as_secs_f64();
                self.report.warnings += u64::from(!progress.seen.status.is_ok());
                self.count(progress.cost);
                let record = match see(&at, progress) {
                    Ok(record) => record,
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                };
                if let Err(error) = failure::check() {
                    failed = Some(error.into());
                    return ControlFlow::Break(());
                }
                at = progress.solver.x().clone();
                if let Some(accuracy) = record.test_accuracy {
                    bar.set_message(format!("test accuracy {:.1} %", 100.0 * accuracy));
                }
                bar.inc(1);
                let seen = progress.seen;
                self.report.series.push(StepRecord {
                    step: progress.step as u64 - 1,
                    seconds: self.report.seconds,
                    calls: self.report.total_calls(),
                    upper_loss: record.upper_loss.or(Some(seen.upper_loss)),
                    lower_loss: Some(seen.lower_loss),
                    grad_norm: Some(seen.gradient_norm),
                    ..record
                });
                // There is a step left to resume.
                if progress.step == steps {
                    return ControlFlow::Continue(());
                }
                if interrupt::asked().is_some() {
                    return ControlFlow::Break(());
                }
                let due = self.run.saved_at.elapsed() >= self.run.manner.save_every;
                if due && let Err(error) = self.keep(progress.step, progress.solver.save()) {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .run(solver);
        bar.finish();
        if let Some(error) = failed {
            return Err(error);
        }
        let outcome = outcome?;
        if outcome.ending == Ending::Observer {
            // A signal, perhaps to another rank.
            self.keep(outcome.steps, solver.save())?;
            let (signal, folder) = (interrupt::OF_ANOTHER, self.folder().path().into());
            return Err(BenchError::Interrupted { signal, folder, kept: true });
        }
        self.report.status = format!("{steps} upper steps");
        if self.report.warnings > 0 {
            self.report.status +=
                &format!(", {} with a warning; the last: {}", self.report.warnings, outcome.status);
        }
        self.report.ok = is_usable(&outcome.status);
        Ok(outcome)
    }

    /// The number of finished parts of a method in the checkpoint, by [`Self::keep`], and their results; for methods
    /// of `parts` parts that [`Self::drive`] does not run.
    ///
    /// # Errors
    /// If more parts are finished.
    pub fn kept(&mut self, parts: usize) -> Result<(usize, Snapshot), Error> {
        let Some(Current { step, solver, .. }) = self.resumed.take() else {
            return Ok(Default::default());
        };
        if step <= parts {
            return Ok((step, solver));
        }
        let (entry, found) = ("step".into(), step.to_string());
        Err(Error::Snapshot { entry, found, expected: format!("{parts} at most") })
    }

    /// Writes the checkpoint: `done` upper steps, or parts of the method, and the state needed to resume.
    ///
    /// # Errors
    /// If it cannot be written, or a signal requests the end of the process.
    pub fn keep(&mut self, done: usize, state: Snapshot) -> Result<(), BenchError> {
        failure::check()?;
        let saved = Saved::new(&self.report);
        self.run.checkpoint.current = Some(Current { saved, step: done, solver: state });
        self.run.write()?;
        self.run.saved_at = Instant::now();
        self.run.go_on()
    }

    /// Adds the time of a training that is not an upper step.
    pub fn timed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let shown = self.report.baseline && self.run.manner.progress;
        self.run.preparing.clear();
        let bar = if shown { Bar::phase(&self.report.name, "training") } else { Bar::hidden() };
        let begin = Instant::now();
        let done = work();
        self.report.seconds += begin.elapsed().as_secs_f64();
        bar.clear();
        done
    }
}

/// Oracle calls by kind, without kinds that have none.
fn calls(cost: Cost) -> impl Iterator<Item = (String, u64)> {
    [
        ("upper values", cost.upper_values),
        ("lower values", cost.lower_values),
        ("upper gradients", cost.upper_gradients),
        ("lower gradients", cost.lower_gradients),
        ("upper products", cost.upper_products),
        ("lower products", cost.lower_products),
        ("constraint values", cost.constraint_values),
        ("constraint gradients", cost.constraint_gradients),
        ("constraint products", cost.constraint_products),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(kind, count)| (kind.to_owned(), count))
}
