//! A lower loss that keeps y near x.

use bilevel_program::{Vector, float};
use burn::tensor::Tensor;

use super::{Direction, Hessian, Linearization, Loss, Oracle, Partials, Point, Wrt};
use crate::Objective;

/// An oracle with `f + mu/2 norm(y - x)^2` in place of f, for x and y of the same shapes.
pub(crate) struct Anchored<'a> {
    inner: &'a dyn Oracle,
    strength: f64,
}

impl<'a> Anchored<'a> {
    /// `mu = strength`.
    pub(crate) fn new(inner: &'a dyn Oracle, strength: f64) -> Self {
        Self { inner, strength }
    }

    fn add(&self, loss: Loss, away: &Vector) -> Loss {
        let squares = away.leaves().iter().cloned();
        let squares = squares.map(|leaf| float::sum(float::mul(leaf.clone(), leaf)));
        squares.fold(loss, |Loss(loss), square| {
            let square = Tensor::from_dispatch(square);
            Loss(loss + square * (self.strength / 2.0))
        })
    }

    /// Adds `mu (y - x)` to the part in y and the opposite to that in x.
    fn pull(&self, sides: Partials, x: &Vector, away: &Vector) -> Partials {
        Partials {
            x: sides.x.map(|side| side.axpy(-self.strength, &recast(away, x))),
            y: sides.y.map(|side| side.axpy(self.strength, away)),
        }
    }

    /// Adds the anchor's part to a product along a direction.
    fn pull_along(
        &self,
        sides: Partials,
        x: &Vector,
        y: &Vector,
        along: Direction<'_>,
    ) -> Partials {
        let along_x = along.x.map(|moved| recast(moved, y));
        let away = match (along.y, along_x) {
            (Some(y), Some(x)) => y.sub(&x),
            (Some(y), None) => y.clone(),
            (None, Some(x)) => x.scale(-1.0),
            (None, None) => return sides,
        };
        self.pull(sides, x, &away)
    }
}

fn away(at: Point<'_>) -> Vector {
    at.y.sub(&recast(at.x, at.y))
}

impl Oracle for Anchored<'_> {
    crate::forward_oracle!(inner: upper_layout, lower_layout, constraints, batches, is_collective);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        let loss = self.inner.value(objective, at);
        match objective {
            Objective::Upper => loss,
            Objective::Lower => self.add(loss, &away(at)),
        }
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, sides) = self.inner.gradient(objective, at, wrt);
        match objective {
            Objective::Upper => (loss, sides),
            Objective::Lower => {
                let away = away(at);
                (self.add(loss, &away), self.pull(sides, at.x, &away))
            }
        }
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        let sides = self.inner.product(objective, at, along, wrt);
        if objective == Objective::Upper {
            return sides;
        }
        self.pull_along(sides, at.x, at.y, along)
    }

    fn linearize<'b>(
        &'b self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'b> {
        let inner = self.inner.linearize(objective, at, gradient, along, wrt);
        if objective == Objective::Upper {
            return inner;
        }
        let away = away(at);
        let loss = inner.loss.map(|loss| self.add(loss, &away));
        let gradient = self.pull(inner.gradient, at.x, &away);
        let (hessian, x, y) = (inner.hessian, at.x.clone(), at.y.clone());
        let bytes = hessian.bytes();
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            self.pull_along(hessian.product(along, wrt), &x, &y, along)
        };
        Linearization { loss, gradient, hessian: Hessian::new(product, bytes) }
    }
}

/// The values of `v` as a vector like `like`, whose variables have the same shapes.
fn recast(v: &Vector, like: &Vector) -> Vector {
    let mut leaves = v.leaves().iter().cloned();
    like.map(|leaf| leaves.next().unwrap_or(leaf))
}
