//! A hypergradient over many tasks.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status};
use crate::error::at_least_one;
use crate::{Dynamics, Error, Loss, LowerProblem, Sample, Samples, Snapshot, side_by_side};

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
/// Tasks run [`side_by_side`], on as many threads as rayon's pool has. They share nothing but x and the programs of the
/// oracle, and the sums run over j in order: the result has the same bits for any number of threads. Memory: that of the
/// method on one task for each thread. Cost: n times that of the method.
///
/// [`Hypergradient::lower`] is the mean of the tasks' lower points, the losses are means, and the status is the first
/// one that is not [ok](Status::is_ok).
///
/// Source: [survey, section 3.2](https://arxiv.org/abs/2101.11517), the sums over tasks of meta-learning.
#[derive(Clone, Debug)]
pub struct Tasks<M> {
    methods: Vec<M>,
}

impl<M: HypergradientMethod> Tasks<M> {
    /// `n` tasks, each with a method that `make` makes: a method keeps its state for its position in the batch.
    ///
    /// # Errors
    /// If `n` is 0, or a method cannot be made.
    pub fn new(n: usize, mut make: impl FnMut() -> Result<M, Error>) -> Result<Self, Error> {
        at_least_one("tasks of a meta-batch", n)?;
        Ok(Self { methods: (0..n).map(|_| make()).collect::<Result<_, _>>()? })
    }

    /// The hypergradients of the tasks, in order.
    fn each(
        &mut self,
        problem: LowerProblem<'_>,
        start: &Vector,
    ) -> Result<Vec<Hypergradient>, Error> {
        let n = self.methods.len();
        let of_task = |sample: Sample, j: usize| Sample(sample.0 * n as u64 + j as u64);
        let one = |(j, method): (usize, &mut M)| {
            let Samples { upper, lower, index } = problem.samples;
            let index = index * n as u64 + j as u64;
            let samples = Samples { upper: of_task(upper, j), lower: of_task(lower, j), index };
            method.hypergradient(LowerProblem { samples, ..problem }, start)
        };
        let numbered: Vec<_> = self.methods.iter_mut().enumerate().collect();
        if problem.oracle.is_collective() {
            return numbered.into_iter().map(one).collect();
        }
        side_by_side(numbered, one).into_iter().collect()
    }
}

/// The mean of vectors of one layout, summed in order; none if there are none.
fn mean<'a>(mut vectors: impl ExactSizeIterator<Item = &'a Vector>) -> Option<Vector> {
    let share = 1.0 / vectors.len() as f64;
    let first = vectors.next()?.clone();
    Some(vectors.fold(first, |sum, vector| sum.add(vector)).scale(share))
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
        let found = self.each(problem, start)?;
        let of = |part: fn(&Hypergradient) -> &Vector| mean(found.iter().map(part));
        let starts: Vec<_> = found.iter().filter_map(|task| task.start.as_ref()).collect();
        let status = found.iter().map(|task| task.status).find(|status| !status.is_ok());
        Ok(Hypergradient {
            gradient: of(|task| &task.gradient).unwrap_or_else(|| problem.x.zeros_like()),
            start: mean(starts.into_iter()),
            lower: of(|task| &task.lower).unwrap_or_else(|| start.clone()),
            upper_loss: Loss::mean(found.iter().map(|task| task.upper_loss.clone())),
            lower_loss: found.iter().map(|task| task.lower_loss).sum::<f64>() / found.len() as f64,
            status: status.unwrap_or(found[0].status),
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

    fn save(&self, to: &mut Snapshot) {
        for (j, method) in self.methods.iter().enumerate() {
            to.put_within(&format!("task {j}"), |to| method.save(to));
        }
    }

    fn restore(&mut self, from: &mut Snapshot, x: &Vector, y: &Vector) -> Result<(), Error> {
        for (j, method) in self.methods.iter_mut().enumerate() {
            from.take_within(&format!("task {j}"), |from| method.restore(from, x, y))?;
        }
        Ok(())
    }
}
