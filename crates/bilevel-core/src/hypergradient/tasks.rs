//! A hypergradient over many tasks.

use std::ops::Range;
use std::sync::Arc;

use bilevel_program::{Vector, float};
use serde::{Deserialize, Serialize};

use super::{Hypergradient, HypergradientMethod, Status};
use crate::error::at_least_one;
use crate::parallel::{divided, dtype, gather, in_tree, means, sums, tree};
use crate::{
    Alone, Cost, Counted, Dynamics, Error, Group, Loss, LowerProblem, Sample, Samples, Snapshot,
    side_by_side,
};

/// Any hypergradient method on the n tasks of a meta-batch, each with its own lower variable.
///
/// ```text
/// min_x 1/n sum_j F_j(x, y_j*(x)),  y_j*(x) in argmin_y f_j(x, y)
/// g = 1/n sum_j g_j,  g_j the hypergradient of task j
/// ```
///
/// At upper step k the data of task j is `Sample(k n + j)`, for both levels: [`Data`](crate::Data) that draws an
/// episode from the number of a sample gives new tasks at each step. Every task starts at the given start. A learned
/// start is common to all tasks, and its gradient is the mean too.
///
/// Tasks run [`side_by_side`], on as many threads as rayon's pool has, and [among](Self::among) the ranks of a group. They
/// share nothing but x and the programs of the oracle, and the sums are those of a [tree](crate::parallel::tree) over j:
/// the result has the same bits for any number of threads and ranks. Memory: that of the method on one task for each
/// thread. Cost: n times that of the method.
///
/// [`Hypergradient::lower`] is the mean of the tasks' lower points, the losses are means, and the status is the first
/// one that is not [ok](Status::is_ok).
///
/// Source: [survey, section 3.2](https://arxiv.org/abs/2101.11517), the sums over tasks of meta-learning.
#[derive(Clone, Debug)]
pub struct Tasks<M> {
    /// One for each task, on every rank.
    methods: Vec<M>,
    group: Arc<dyn Group>,
    elsewhere: Cost,
}

/// What a rank tells the others of its tasks, besides vectors.
#[derive(Serialize, Deserialize)]
struct Report {
    /// That of the first task that is not ok, or else of the first one.
    status: Status,
    lower_losses: Vec<f64>,
    cost: Cost,
    /// The states of its methods: every rank keeps those of all.
    states: Snapshot,
}

impl<M: HypergradientMethod> Tasks<M> {
    /// `n` tasks, each with a method that `make` makes: a method keeps its state for its position in the batch.
    ///
    /// # Errors
    /// If `n` is 0, or a method cannot be made or goes on from its last call, which was on another task.
    pub fn new(n: usize, mut make: impl FnMut() -> Result<M, Error>) -> Result<Self, Error> {
        at_least_one("tasks of a meta-batch", n)?;
        let methods: Vec<M> = (0..n).map(|_| make()).collect::<Result<_, _>>()?;
        if let Some(method) = methods.iter().find(|method| method.goes_on()) {
            return Err(Error::InvalidSetting {
                setting: "method on tasks",
                found: method.describe(),
                expected: "one whose calls do not go on from each other: each is on another task",
                cure: "keep all lower steps",
            });
        }
        Ok(Self { methods, group: Arc::new(Alone), elsewhere: Cost::default() })
    }

    /// Divided among the ranks of a group, each of which runs the tasks of its [`Group::share`]. A step sends what ranks
    /// tell of their tasks, and then the sums of the hypergradient and of `lower`: three messages. If a task fails on
    /// some rank, the step is an error on all.
    ///
    /// # Errors
    /// If the tasks are not a power of two for each rank.
    pub fn among(mut self, group: impl Group + 'static) -> Result<Self, Error> {
        divided("tasks of a meta-batch", self.methods.len(), group.size())?;
        self.group = Arc::new(group);
        Ok(self)
    }

    /// The tasks of a rank.
    fn of_rank(&self, rank: usize) -> Range<usize> {
        self.group.share_of(rank, self.methods.len())
    }

    /// The hypergradients of the tasks of this rank, in order.
    fn each(
        &mut self,
        problem: LowerProblem<'_>,
        start: &Vector,
    ) -> Result<Vec<Hypergradient>, Error> {
        let n = self.methods.len();
        let own = self.of_rank(self.group.rank());
        let of_task = |sample: Sample, j: usize| Sample(sample.0 * n as u64 + j as u64);
        let one = |(j, method): (usize, &mut M)| {
            let Samples { upper, lower, index } = problem.samples;
            let index = index * n as u64 + j as u64;
            let samples = Samples { upper: of_task(upper, j), lower: of_task(lower, j), index };
            method.hypergradient(LowerProblem { samples, ..problem }, start)
        };
        let numbered = self.methods.iter_mut().enumerate();
        let numbered: Vec<_> = numbered.skip(own.start).take(own.len()).collect();
        if problem.oracle.is_collective() {
            return numbered.into_iter().map(one).collect();
        }
        side_by_side(numbered, one).into_iter().collect()
    }

    /// The reports of all ranks, in order, and the tasks of this one. If a task fails on some rank, all have an error.
    fn exchange(
        &mut self,
        own: Result<(Report, Vec<Hypergradient>), Error>,
        x: &Vector,
        y: &Vector,
    ) -> Result<(Vec<Report>, Vec<Hypergradient>), Error> {
        let alone = |(report, found)| (vec![report], found);
        if self.group.size() == 1 {
            return own.map(alone);
        }
        let sent = own.as_ref().map(|(report, _)| report).map_err(ToString::to_string);
        let bytes = rmp_serde::to_vec(&sent).expect("numbers and names can be written");
        let told = gather(&*self.group, &bytes).map_err(Error::Group)?;
        let told = told.iter().map(|bytes| rmp_serde::from_slice(bytes));
        let foreign = |_| Error::InvalidSetting {
            setting: "program",
            found: "another one on some rank".into(),
            expected: "the same on all ranks",
            cure: "start all ranks with one binary",
        };
        let told: Vec<Result<Report, String>> = told.collect::<Result<_, _>>().map_err(foreign)?;
        if told.iter().all(Result::is_err) {
            return own.map(alone);
        }
        let on_rank = |(rank, told): (usize, Result<_, String>)| {
            told.map_err(|cause| Error::OnRank { rank, cause })
        };
        let mut reports: Vec<Report> =
            told.into_iter().enumerate().map(on_rank).collect::<Result<_, _>>()?;
        let (_, found) = own?;
        let rank = self.group.rank();
        for (of, report) in reports.iter_mut().enumerate().filter(|(of, _)| *of != rank) {
            self.elsewhere = self.elsewhere + report.cost;
            if report.states.entries().next().is_some() {
                self.restore_tasks(self.of_rank(of), &mut report.states, x, y)?;
            }
        }
        Ok((reports, found))
    }

    fn save_tasks(&self, tasks: Range<usize>, to: &mut Snapshot) {
        for j in tasks {
            to.put_within(&format!("task {j}"), |to| self.methods[j].save(to));
        }
    }

    fn restore_tasks(
        &mut self,
        tasks: Range<usize>,
        from: &mut Snapshot,
        x: &Vector,
        y: &Vector,
    ) -> Result<(), Error> {
        for j in tasks {
            let method = &mut self.methods[j];
            from.take_within(&format!("task {j}"), |from| method.restore(from, x, y))?;
        }
        Ok(())
    }
}

/// The first status that is not ok, or else the first one.
fn first_fault(mut statuses: impl Iterator<Item = Status>) -> Option<Status> {
    let first = statuses.next()?;
    if !first.is_ok() {
        return Some(first);
    }
    statuses.find(|status| !status.is_ok()).or(Some(first))
}

impl<M: HypergradientMethod> HypergradientMethod for Tasks<M> {
    fn name(&self) -> &'static str {
        self.methods[0].name()
    }

    fn describe(&self) -> String {
        format!("{} on {} tasks", self.methods[0].describe(), self.methods.len())
    }

    fn differentiates_start(&self) -> bool {
        self.methods[0].differentiates_start()
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        self.methods[0].last_step()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let (n, x) = (self.methods.len(), problem.x);
        let together = self.group.size() > 1;
        if together && problem.oracle.is_collective() {
            return Err(Error::InvalidSetting {
                setting: "tasks among ranks",
                found: "with data that is divided among ranks".into(),
                expected: "the whole data on each rank",
                cure: "divide the tasks or the data",
            });
        }
        let sent = if together { Some(dtype(x.layout(), start.layout())?) } else { None };
        let counted = Counted::new(problem.oracle);
        let own = self.each(LowerProblem { oracle: &counted, ..problem }, start).map(|found| {
            let mut states = Snapshot::default();
            if together {
                self.save_tasks(self.of_rank(self.group.rank()), &mut states);
            }
            let status = first_fault(found.iter().map(|task| task.status)).unwrap_or(Status::Exact);
            let lower_losses = found.iter().map(|task| task.lower_loss).collect();
            (Report { status, lower_losses, cost: counted.cost(), states }, found)
        });
        let (reports, found) = self.exchange(own, x, start)?;
        let like = found[0].clone();
        let lists = found.into_iter().map(|task| {
            let vectors = [Some(&task.gradient), task.start.as_ref(), Some(&task.lower)];
            let leaves = vectors.into_iter().flatten().flat_map(Vector::leaves).cloned();
            let loss = task.upper_loss.clone().into_dispatch();
            leaves.chain([sent.map_or(loss.clone(), |dtype| float::cast(loss, dtype))]).collect()
        });
        let sums = sums(&*self.group, in_tree(lists)).map_err(Error::Group)?;
        let lower_losses = reports.iter().flat_map(|report| report.lower_losses.iter().copied());
        let mut means = means(sums, n).into_iter();
        let mut next = |_| means.next().expect("a mean for each part of a hypergradient");
        Ok(Hypergradient {
            gradient: like.gradient.map(&mut next),
            start: like.start.map(|start| start.map(&mut next)),
            lower: like.lower.map(&mut next),
            upper_loss: Loss::of(next(like.upper_loss.into_dispatch())),
            lower_loss: tree(lower_losses, |a, b| a + b).unwrap_or(f64::NAN) / n as f64,
            status: first_fault(reports.iter().map(|report| report.status)).unwrap_or(like.status),
        })
    }

    /// Each task has checked whether its own is finite.
    fn hypergradient(
        &mut self,
        problem: LowerProblem<'_>,
        start: &Vector,
    ) -> Result<Hypergradient, Error> {
        let found = self.run(problem, start)?;
        let finite = Vector::all_are_finite([&found.gradient].into_iter().chain(&found.start));
        if finite || found.status.is_broken() {
            return Ok(found);
        }
        Ok(Hypergradient { status: Status::NotFinite { cause: None }, ..found })
    }

    fn cost_elsewhere(&self) -> Cost {
        self.elsewhere
    }

    fn save(&self, to: &mut Snapshot) {
        self.save_tasks(0..self.methods.len(), to);
    }

    fn restore(&mut self, from: &mut Snapshot, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.restore_tasks(0..self.methods.len(), from, x, y)
    }
}
