//! A lower loss as steep as one likes.

use std::sync::Arc;

use bilevel_program::{Layout, Vector};
use burn::tensor::Tensor;

use crate::{Direction, Level, Loss, Oracle, Partials, Point, Wrt};

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

    fn factor(&self, level: Level) -> f64 {
        if level == Level::Lower { self.factor } else { 1.0 }
    }

    fn loss(&self, level: Level, loss: &Loss, at: Point<'_>) -> Loss {
        let value = self.factor(level) * loss.read();
        let dtype = at.y.layout().leaves()[0].dtype;
        Loss::new(Tensor::from_data([value], (&at.y.device(), dtype)))
    }

    fn sides(&self, level: Level, sides: Partials) -> Partials {
        let scale = |v: Vector| v.scale(self.factor(level));
        Partials { x: sides.x.map(scale), y: sides.y.map(scale) }
    }
}

impl Oracle for Scaled<'_> {
    fn upper_layout(&self) -> &Arc<Layout> {
        self.inner.upper_layout()
    }

    fn lower_layout(&self) -> &Arc<Layout> {
        self.inner.lower_layout()
    }

    fn value(&self, level: Level, at: Point<'_>) -> Loss {
        self.loss(level, &self.inner.value(level, at), at)
    }

    fn gradient(&self, level: Level, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, sides) = self.inner.gradient(level, at, wrt);
        (self.loss(level, &loss, at), self.sides(level, sides))
    }

    fn product(&self, level: Level, at: Point<'_>, along: Direction<'_>, wrt: Wrt) -> Partials {
        self.sides(level, self.inner.product(level, at, along, wrt))
    }

    fn batches(&self, level: Level) -> usize {
        self.inner.batches(level)
    }
}
