//! The loop: it handles limits, timing, seeds and observers; solvers only step.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::error::{at_least_one, not_negative};
use crate::hypergradient::Status;
use crate::parallel::{Alone, Votes, agree};
use crate::{CheckpointFile, Cost, Error, Group, Observation, Snapshot, Solver};

/// What an observer sees after each upper step.
pub struct Progress<'a> {
    /// The upper step, counted from 1.
    pub step: usize,
    /// Time since the run began, or was resumed, without the observers' own time.
    pub elapsed: Duration,
    /// Oracle calls since the run began, or was resumed.
    pub cost: Cost,
    /// What the step saw.
    pub seen: &'a Observation,
    /// The solver, with x and y.
    pub solver: &'a dyn Solver,
}

/// Watches a run: for logs, curves, progress bars, early stopping.
pub trait Observer {
    /// Called after each upper step; `Break` ends the run.
    fn observe(&mut self, progress: &Progress<'_>) -> ControlFlow<()>;
}

impl<F: FnMut(&Progress<'_>) -> ControlFlow<()>> Observer for F {
    fn observe(&mut self, progress: &Progress<'_>) -> ControlFlow<()> {
        self(progress)
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps were made.
    StepLimit,
    /// The time limit was reached.
    TimeLimit,
    /// The norm of a trustworthy hypergradient is within the tolerance, and so is the distance of y from a lower
    /// optimum and from the constraints ([`Solver::residual`]).
    Stationary,
    /// An observer ended it.
    Observer,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why it ended.
    pub ending: Ending,
    /// The upper steps made, including those before a resumed run.
    pub steps: usize,
    /// Time, without that of the observers.
    pub elapsed: Duration,
    /// Oracle calls.
    pub cost: Cost,
    /// The status of the last hypergradient.
    pub status: Status,
    /// The upper steps, counted from 1, whose hypergradient came with a status that is not ok, with that status.
    pub warnings: Vec<(usize, Status)>,
}

/// How often the state of a run is saved to its [`CheckpointFile`]; it is also saved at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// After every n-th upper step.
    Steps(usize),
    /// After the first upper step that ends at least this long after the last save.
    Time(Duration),
}

/// What a run resumes from.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    /// Upper steps made.
    step: usize,
    solver: Snapshot,
}

/// Runs a solver.
pub struct Executor<'a> {
    first: usize,
    steps: usize,
    time: Option<Duration>,
    tolerance: Option<f64>,
    seed: Option<(u64, Device)>,
    observers: Vec<Box<dyn Observer + 'a>>,
    group: Option<&'a dyn Group>,
    checkpoints: Option<(CheckpointFile, Every)>,
}

impl<'a> Executor<'a> {
    /// At most `steps` upper steps.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn new(steps: usize) -> Result<Self, Error> {
        Ok(Self {
            first: 0,
            steps: at_least_one("upper steps", steps)?,
            time: None,
            tolerance: None,
            seed: None,
            observers: Vec::new(),
            group: None,
            checkpoints: None,
        })
    }

    /// Begins at step `k`, counted from 0: continues the run of a solver that was saved after k steps
    /// ([`Solver::save`]), and ends after `steps` steps in all. Numbers, seeds and schedules of the steps are those of
    /// the whole run; time, oracle calls and warnings are those of this part.
    ///
    /// # Errors
    /// If no step is left.
    pub fn starting_at(mut self, k: usize) -> Result<Self, Error> {
        self.begin_at(k)?;
        Ok(self)
    }

    fn begin_at(&mut self, k: usize) -> Result<(), Error> {
        if k >= self.steps {
            return Err(Error::InvalidSetting {
                setting: "first step of a resumed run",
                found: format!("{k} of {}", self.steps),
                expected: "a step below the number of all steps",
                cure: "the run is over, and its x and y are those that were saved: raise the number of steps to \
                       continue",
            });
        }
        self.first = k;
        Ok(())
    }

    /// Saves the state of the run to `file`, as often as `every` says and at its end. If the file already has a state,
    /// the run resumes from it: a program that is interrupted at any moment and started again makes the same steps as
    /// an uninterrupted run, bit for bit. The solver must have been made with the same settings and data. The state of
    /// observers is not saved.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use bilevel_core::*;
    /// # fn example(solver: &mut dyn Solver) -> Result<(), Error> {
    /// let every = Every::Time(Duration::from_secs(60));
    /// Executor::new(10_000)?.with_checkpoints(CheckpointFile::new("run.bin"), every)?.run(solver)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The file is kept when the run is complete. Another run from it then restores the solver and, if all steps were
    /// made, ends with the error of [`Self::starting_at`]; if the run had ended earlier, as stationary or by an
    /// observer, it makes steps until it ends again. A time limit counts from the start of each run. In a group only
    /// rank 0 reads and writes the file; if that fails, the other ranks wait until its group is dropped.
    ///
    /// # Errors
    /// If `every` is 0 steps.
    pub fn with_checkpoints(mut self, file: CheckpointFile, every: Every) -> Result<Self, Error> {
        if let Every::Steps(steps) = every {
            at_least_one("steps between checkpoints", steps)?;
        }
        self.checkpoints = Some((file, every));
        Ok(self)
    }

    /// Restores the solver from the file, if there is one with a state.
    fn resume(&mut self, solver: &mut dyn Solver) -> Result<(), Error> {
        let Some((file, _)) = &self.checkpoints else { return Ok(()) };
        let found = file.read_on_all(self.group.unwrap_or(&Alone))?;
        let Some(Checkpoint { step, solver: state }) = found else { return Ok(()) };
        solver.restore(state)?;
        self.begin_at(step)
    }

    /// Writes the file after upper step `step`, if a save is due or the run ends.
    fn keep(
        &self,
        step: usize,
        ends: bool,
        kept_at: &mut Instant,
        solver: &dyn Solver,
    ) -> Result<(), Error> {
        let Some((file, every)) = &self.checkpoints else { return Ok(()) };
        let due = match every {
            Every::Steps(steps) => step.is_multiple_of(*steps),
            Every::Time(time) => kept_at.elapsed() >= *time,
        };
        if self.group.is_none_or(|group| group.rank() == 0) && (due || ends) {
            let state = Checkpoint { step, solver: solver.save() };
            file.write(&state).map_err(Error::Checkpoint)?;
            *kept_at = Instant::now();
        }
        Ok(())
    }

    /// Ends after the step in which this time runs out.
    pub fn with_time_limit(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Ends when the norm of the hypergradient is at most `tolerance`, and so is the [residual](Solver::residual) of
    /// the lower level and of the constraints: not where F is stationary at a y that does not solve the lower level,
    /// such as that of few lower steps, or the y where [`Iaptt`](crate::Iaptt) finds F greatest. Without a tolerance no
    /// norm ends a run: from a start where y does not depend on x, the first hypergradients through few lower steps may
    /// be 0.
    ///
    /// # Errors
    /// If it is negative or not finite.
    pub fn with_tolerance(mut self, tolerance: f64) -> Result<Self, Error> {
        self.tolerance = Some(not_negative("gradient tolerance", tolerance)?);
        Ok(self)
    }

    /// Seeds the device's generator before each step with `seed` and the step's number, so that the draws of a step do
    /// not depend on earlier draws.
    pub fn with_seed(mut self, seed: u64, device: Device) -> Self {
        self.seed = Some((seed, device));
        self
    }

    /// With one more observer.
    pub fn observe(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// As one of the ranks of a group, each of which runs a solver with the same settings on its share of the data
    /// ([`DataParallel`](crate::DataParallel)). After each step the ranks agree, in one message: the run ends on all of
    /// them if the time runs out on one of them, or an observer of one of them ends it.
    pub fn in_group(mut self, group: &'a dyn Group) -> Self {
        self.group = Some(group);
        self
    }

    /// The residual is computed last: it costs gradients.
    fn is_stationary(&self, seen: &Observation, solver: &dyn Solver) -> bool {
        let Some(tolerance) = self.tolerance else { return false };
        let at_rest = seen.status.is_ok() && seen.gradient_norm <= tolerance;
        at_rest && solver.residual().largest() <= tolerance
    }

    /// Runs to an end.
    ///
    /// # Errors
    /// The solver's; if the device fails in a step; with checkpoints, if one cannot be read or written, or is of another
    /// solver; in a group, also if a rank has ended, or x and y are not the same on all ranks.
    pub fn run(mut self, solver: &mut dyn Solver) -> Result<Outcome, Error> {
        self.resume(solver)?;
        let mut kept_at = Instant::now();
        let before = solver.cost();
        let mut elapsed = Duration::ZERO;
        let mut warnings = Vec::new();
        for k in self.first..self.steps {
            if let Some((seed, device)) = &self.seed {
                device.seed(step_seed(*seed, k as u64));
            }
            let begin = Instant::now();
            // If a group fails, steps fail.
            let cause = |error| match self.group.map_or(Ok(()), Group::check) {
                Err(failed) => Error::Group(failed),
                Ok(()) => error,
            };
            let (seen, stationary) = of_step(k, || {
                let seen = solver.step(k)?;
                let stationary = self.is_stationary(&seen, &*solver);
                Ok((seen, stationary))
            })
            .map_err(cause)?;
            elapsed += begin.elapsed();
            let step = k + 1;
            if !seen.status.is_ok() {
                warnings.push((step, seen.status));
            }
            let Observation { upper_loss, gradient_norm, status, .. } = seen;
            tracing::debug!(step, upper_loss, gradient_norm, %status);
            let cost = solver.cost() - before;
            let progress = Progress { step, elapsed, cost, seen: &seen, solver };
            // Every observer sees every step, also the one at which another ends the run.
            let stops = self.observers.iter_mut().map(|o| o.observe(&progress));
            let mut votes = Votes {
                observer: stops.filter(ControlFlow::is_break).count() > 0,
                time: self.time.is_some_and(|limit| elapsed >= limit),
            };
            if let Some(group) = self.group.filter(|group| group.size() > 1) {
                let agreed = agree(group, votes, (solver.x(), solver.y()));
                votes = agreed.map_err(Error::Group)?;
            }
            let ending = if votes.observer {
                Some(Ending::Observer)
            } else if stationary {
                Some(Ending::Stationary)
            } else if votes.time {
                Some(Ending::TimeLimit)
            } else if step == self.steps {
                Some(Ending::StepLimit)
            } else {
                None
            };
            self.keep(step, ending.is_some(), &mut kept_at, &*solver)?;
            if let Some(ending) = ending {
                return Ok(Outcome { ending, steps: step, elapsed, cost, status, warnings });
            }
        }
        unreachable!("an executor has a step left, and the last one ends the run")
    }
}

/// What step `k` gives; a device that fails meanwhile is an error of the step.
fn of_step<T>(k: usize, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        match bilevel_program::device_failure(panic.as_ref()) {
            Some(cause) => Err(Error::Device { step: k + 1, cause }),
            None => resume_unwind(panic),
        }
    })
}

/// A seed for step `k`: neighbouring steps must not share streams (splitmix64).
fn step_seed(seed: u64, k: u64) -> u64 {
    let mut z = seed.wrapping_add(k.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
