//! The loop: it owns limits, timing, seeds and observers; solvers only step.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use crate::error::{at_least_one, not_negative};
use crate::hypergradient::Status;
use crate::parallel::{Votes, agree};
use crate::{Cost, Error, Group, Solver, Step};

/// What an observer sees after each upper step.
pub struct Progress<'a> {
    /// The upper step, counted from 1.
    pub step: usize,
    /// Time since the run began, or was resumed; observers' own time excluded.
    pub elapsed: Duration,
    /// Oracle calls since the run began, or was resumed.
    pub cost: Cost,
    /// What the step saw.
    pub seen: &'a Step,
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
    /// The time was up.
    TimeLimit,
    /// The norm of a hypergradient that can be trusted is within the tolerance, and so is how far y is from a lower optimum
    /// and from the constraints ([`Solver::residual`]).
    Stationary,
    /// An observer ended it.
    Observer,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why it ended.
    pub ending: Ending,
    /// The upper steps made, those before a resumed run counted.
    pub steps: usize,
    /// Time, observers' own excluded.
    pub elapsed: Duration,
    /// Oracle calls.
    pub cost: Cost,
    /// The status of the last hypergradient.
    pub status: Status,
    /// The upper steps, counted from 1, whose hypergradient came with a status that is not ok, and that status.
    pub warnings: Vec<(usize, Status)>,
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
        })
    }

    /// Begins at step `k`, counted from 0: the run goes on that a solver was saved from after k steps
    /// ([`Solver::save`]), and ends with it, after `steps` steps in all. Numbers, seeds and schedules of the
    /// steps are those of the whole run; time, oracle calls and warnings those of this part.
    ///
    /// # Errors
    /// If no step is left.
    pub fn starting_at(mut self, k: usize) -> Result<Self, Error> {
        if k >= self.steps {
            return Err(Error::InvalidSetting {
                setting: "first step of a run that goes on",
                found: format!("{k} of {}", self.steps),
                expected: "a step below the number of all steps",
                cure: "the run is over: raise the number of steps to go on",
            });
        }
        self.first = k;
        Ok(self)
    }

    /// Ends after the step in which this time is up.
    pub fn with_time_limit(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Ends when the norm of the hypergradient is at most `tolerance`, and so is the [residual](Solver::residual) of the lower
    /// level and of the constraints: not where F stops at a y that does not solve the lower level, as that of few lower
    /// steps, or the y where [`Iaptt`](crate::Iaptt) finds F greatest. Without it no norm ends a run: from a
    /// start where y does not depend on x, the first hypergradients of few lower steps may be 0.
    ///
    /// # Errors
    /// If it is negative or not finite.
    pub fn with_tolerance(mut self, tolerance: f64) -> Result<Self, Error> {
        self.tolerance = Some(not_negative("gradient tolerance", tolerance)?);
        Ok(self)
    }

    /// Seeds the device's generator before each step with `seed` and the step's number, so that a step
    /// draws the same whatever was drawn before it.
    pub fn with_seed(mut self, seed: u64, device: Device) -> Self {
        self.seed = Some((seed, device));
        self
    }

    /// With one more observer.
    pub fn observe(mut self, observer: impl Observer + 'a) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// As one of the ranks of a group, each of which runs a solver of the same settings on its share of the data
    /// ([`DataParallel`](crate::DataParallel)). After each step the ranks agree, in one message: the run ends on all of
    /// them if the time is up on one of them, or an observer of one of them ends it.
    pub fn in_group(mut self, group: &'a dyn Group) -> Self {
        self.group = Some(group);
        self
    }

    /// The residual is asked for last: it costs gradients.
    fn is_stationary(&self, seen: &Step, solver: &dyn Solver) -> bool {
        let Some(tolerance) = self.tolerance else { return false };
        let at_rest = seen.status.is_ok() && seen.gradient_norm <= tolerance;
        at_rest && solver.residual().largest() <= tolerance
    }

    /// Runs to an end.
    ///
    /// # Errors
    /// The solver's; in a group, also if a rank has ended, or x and y are not the same on all ranks.
    pub fn run(mut self, solver: &mut dyn Solver) -> Result<Outcome, Error> {
        let before = solver.cost();
        let mut elapsed = Duration::ZERO;
        let mut warnings = Vec::new();
        for k in self.first..self.steps {
            if let Some((seed, device)) = &self.seed {
                device.seed(step_seed(*seed, k as u64));
            }
            let begin = Instant::now();
            // A group that fails makes steps fail.
            let cause = |error| match self.group.map_or(Ok(()), Group::check) {
                Err(failed) => Error::Group(failed),
                Ok(()) => error,
            };
            let seen = solver.step(k).map_err(cause)?;
            let stationary = self.is_stationary(&seen, solver);
            elapsed += begin.elapsed();
            let step = k + 1;
            if !seen.status.is_ok() {
                warnings.push((step, seen.status));
            }
            let Step { upper_loss, gradient_norm, status, .. } = seen;
            tracing::debug!(step, upper_loss, gradient_norm, %status);
            let cost = solver.cost() - before;
            let progress = Progress { step, elapsed, cost, seen: &seen, solver };
            // Every observer sees every step, also the one that another ends the run at.
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
                Ending::Observer
            } else if stationary {
                Ending::Stationary
            } else if votes.time {
                Ending::TimeLimit
            } else if step == self.steps {
                Ending::StepLimit
            } else {
                continue;
            };
            return Ok(Outcome { ending, steps: step, elapsed, cost, status, warnings });
        }
        unreachable!("an executor has a step left, and the last one ends the run")
    }
}

/// A seed for step `k`: neighbouring steps must not share streams (splitmix64).
fn step_seed(seed: u64, k: u64) -> u64 {
    let mut z = seed.wrapping_add(k.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
