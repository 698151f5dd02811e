//! A lower loss of arbitrary steepness.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use crate::{Direction, Loss, Objective, Oracle, Partials, Point, Wrt};

/// An oracle with `c f` in place of f.
pub(super) struct Scaled<'a> {
    inner: &'a dyn Oracle,
    factor: f64,
}

impl<'a> Scaled<'a> {
    /// `c = factor`.
    pub fn new(inner: &'a dyn Oracle, factor: f64) -> Self {
        Self { inner, factor }
    }

    fn factor(&self, objective: Objective) -> f64 {
        if objective == Objective::Lower { self.factor } else { 1.0 }
    }

    fn loss(&self, objective: Objective, loss: &Loss, at: Point<'_>) -> Loss {
        let value = self.factor(objective) * loss.read();
        let dtype = at.y.layout().leaves()[0].dtype;
        Loss::new(Tensor::from_data([value], (&at.y.device(), dtype)))
    }

    fn sides(&self, objective: Objective, sides: Partials) -> Partials {
        let scale = |v: Vector| v.scale(self.factor(objective));
        Partials { x: sides.x.map(scale), y: sides.y.map(scale) }
    }
}

impl Oracle for Scaled<'_> {
    crate::forward_oracle!(inner: upper_layout, lower_layout, batches, is_collective);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        self.loss(objective, &self.inner.value(objective, at), at)
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, sides) = self.inner.gradient(objective, at, wrt);
        (self.loss(objective, &loss, at), self.sides(objective, sides))
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        self.sides(objective, self.inner.product(objective, at, along, wrt))
    }
}
