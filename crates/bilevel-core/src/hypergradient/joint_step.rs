//! A step of a joint method as a hypergradient.

use std::sync::Arc;

use bilevel_program::{Layout, Vector};

use super::{Hypergradient, HypergradientMethod};
use crate::constrained::Residual;
use crate::joint::{Iterate, JointMethod};
use crate::{
    Direction, Error, Loss, LowerProblem, Objective, Oracle, Partials, Point, Sampler, Snapshot,
    Wrt,
};

/// `joint-step`: one step of a [`JointMethod`] from the start of the lower level, whose direction of x is returned.
///
/// ```text
/// (x', y') = a step of the method from (x, start),  g = (x - x') / b,  y_T = y'
/// ```
///
/// with b the method's step size of x. So a penalty method runs on the tasks of a meta-batch, each with its own y from
/// the start ([`Tasks`](super::Tasks)), and any optimiser moves x. The state of the method, such as a growing penalty,
/// is kept from call to call.
///
/// Cost and memory are those of a step of the method.
#[derive(Debug)]
pub struct JointStep<M> {
    method: M,
    k: usize,
}

impl<M: JointMethod> JointStep<M> {
    /// Of `method`, from its step 0 on.
    pub fn new(method: M) -> Self {
        Self { method, k: 0 }
    }
}

impl<M: JointMethod> HypergradientMethod for JointStep<M> {
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn describe(&self) -> String {
        self.method.describe()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        self.method.check(problem.oracle)?;
        let mut at = Iterate::new(problem.oracle, problem.x.clone(), start.clone());
        at.sampler = Sampler::always(problem.samples);
        let seen = self.method.step(self.k, &mut at)?;
        self.k += 1;
        let [upper_loss, lower_loss] =
            [Objective::Upper, Objective::Lower].map(|objective| problem.value(objective, &at.y));
        Ok(Hypergradient {
            gradient: seen.along_x,
            start: None,
            lower: at.y,
            upper_loss,
            lower_loss: lower_loss.read(),
            status: self.method.status(),
        })
    }

    fn residual(&self, problem: LowerProblem<'_>, y: &Vector) -> Residual {
        self.method.residual(&Iterate::new(problem.oracle, problem.x.clone(), y.clone()))
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_count("step", self.k);
        to.put_within("method", |to| self.method.save(to));
    }

    fn restore(&mut self, from: &mut Snapshot, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.k = from.take_count("step")?;
        let nowhere = Nowhere { x: x.layout().clone(), y: y.layout().clone() };
        let at = Iterate::new(&nowhere, x.clone(), y.clone());
        from.take_within("method", |from| self.method.restore(from, &at))
    }
}

/// The variables of a problem without its losses: a method that restores its state needs no more.
struct Nowhere {
    x: Arc<Layout>,
    y: Arc<Layout>,
}

impl Oracle for Nowhere {
    fn upper_layout(&self) -> &Arc<Layout> {
        &self.x
    }

    fn lower_layout(&self) -> &Arc<Layout> {
        &self.y
    }

    fn value(&self, _: Objective, _: Point<'_>) -> Loss {
        unreachable!("no loss is evaluated where a state is taken back")
    }

    fn gradient(&self, _: Objective, _: Point<'_>, _: Wrt) -> (Loss, Partials) {
        unreachable!("no gradient is taken where a state is taken back")
    }

    fn product(&self, _: Objective, _: Point<'_>, _: Direction<'_>, _: Wrt) -> Partials {
        unreachable!("no product is taken where a state is taken back")
    }
}
