//! Counting the calls of an oracle.

use std::fmt::Debug;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bilevel_program::Vector;

use super::{
    Constraints, Cost, Direction, Hessian, Linearization, Loss, Mixed, Oracle, Partials, Point,
    PulledBack, Reduced, Samples, Wrt,
};
use crate::{Error, Objective, Sample};

/// An oracle that counts its calls. Solvers count their own; wrap an oracle to count other calls. A clone adds to the
/// same count.
#[derive(Clone, Debug)]
pub struct Counted<O> {
    inner: O,
    cost: Arc<Mutex<Cost>>,
}

impl<O> Counted<O> {
    /// Counts the calls of `inner` from now on.
    pub fn new(inner: O) -> Self {
        Self { inner, cost: Arc::default() }
    }

    /// The calls so far.
    pub fn cost(&self) -> Cost {
        *self.cost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oracle, whose own calls are not counted.
    pub fn uncounted(&self) -> &O {
        &self.inner
    }

    fn count(&self, with: impl FnOnce(&mut Cost)) {
        count(&self.cost, with);
    }
}

/// What an oracle has besides derivatives: its starts and modules.
impl<O> Deref for Counted<O> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.inner
    }
}

impl<O: Oracle> Oracle for Counted<O> {
    crate::forward_oracle!(inner: upper_layout, lower_layout, batches, program, is_collective);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        self.count(|cost| cost.count_value(objective));
        self.inner.value(objective, at)
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        self.count(|cost| cost.count_gradient(objective));
        self.inner.gradient(objective, at, wrt)
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        self.count(|cost| cost.count_product(objective));
        self.inner.product(objective, at, along, wrt)
    }

    fn linearize<'a>(
        &'a self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        if gradient.is_some() {
            self.count(|cost| cost.count_gradient(objective));
        }
        let Linearization { loss, gradient, hessian } =
            self.inner.linearize(objective, at, gradient, along, wrt);
        let bytes = hessian.bytes();
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            self.count(|cost| cost.count_product(objective));
            hessian.product(along, wrt)
        };
        Linearization { loss, gradient, hessian: Hessian::new(product, bytes) }
    }

    fn gradient_and_mixed<'a>(&'a self, at: Point<'a>) -> (Loss, Vector, Mixed<'a>) {
        self.count(|cost| cost.count_gradient(Objective::Lower));
        let (loss, gradient, mixed) = self.inner.gradient_and_mixed(at);
        let counted = move |v: &Vector| {
            self.count(|cost| cost.count_product(Objective::Lower));
            mixed(v)
        };
        (loss, gradient, Box::new(counted))
    }

    fn reduced<'a>(&'a self, x: &Vector, samples: Samples) -> Option<Result<Reduced<'a>, Error>> {
        let reduced = self.inner.reduced(x, samples)?;
        Some(reduced.map(|Reduced { oracle, u, pull_back }| {
            let oracle = Counted { inner: oracle, cost: self.cost.clone() };
            Reduced { oracle: Box::new(oracle), u, pull_back }
        }))
    }

    fn constraints<'a>(
        &'a self,
        level: Objective,
        sample: Sample,
    ) -> Option<Box<dyn Constraints + 'a>> {
        let inner = self.inner.constraints(level, sample)?;
        Some(Box::new(CountedConstraints { inner, cost: self.cost.clone() }))
    }
}

/// Constraints that count their calls.
#[derive(Debug)]
struct CountedConstraints<'a> {
    inner: Box<dyn Constraints + 'a>,
    cost: Arc<Mutex<Cost>>,
}

impl Constraints for CountedConstraints<'_> {
    fn count(&self) -> usize {
        self.inner.count()
    }

    fn equalities(&self) -> usize {
        self.inner.equalities()
    }

    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64> {
        count(&self.cost, |cost| cost.constraint_values += 1);
        self.inner.values(x, y)
    }

    fn weighted(&self, x: &Vector, y: &Vector, weights: &[f64]) -> PulledBack {
        count(&self.cost, |cost| cost.constraint_gradients += 1);
        self.inner.weighted(x, y, weights)
    }

    fn product(
        &self,
        x: &Vector,
        y: &Vector,
        weights: &[f64],
        along: (&[f64], Direction<'_>),
    ) -> PulledBack {
        count(&self.cost, |cost| cost.constraint_products += 1);
        self.inner.product(x, y, weights, along)
    }

    fn join(&self, y: &Vector, multipliers: &[f64]) -> Vector {
        self.inner.join(y, multipliers)
    }

    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>) {
        self.inner.split(joined)
    }
}

fn count(cost: &Mutex<Cost>, count: impl FnOnce(&mut Cost)) {
    count(&mut cost.lock().unwrap_or_else(PoisonError::into_inner));
}
