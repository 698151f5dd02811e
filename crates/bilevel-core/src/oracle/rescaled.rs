//! Variables in other units.

use bilevel_program::Vector;

use super::{
    Constraints, Direction, Hessian, Linearization, Loss, Oracle, Partials, Point, PulledBack, Wrt,
};
use crate::vector_ops::multiply;
use crate::{Objective, Sample};

/// An oracle of `x~` and `y~` with `x = S x~`, `y = T y~`, S and T diagonal: derivatives are those of the inner one times
/// S and T.
pub(crate) struct Rescaled<'a> {
    inner: &'a dyn Oracle,
    units: Units,
}

/// The diagonals of S and T.
#[derive(Clone, Debug)]
pub(crate) struct Units {
    pub x: Vector,
    pub y: Vector,
}

impl Units {
    /// `(S x, T y)`: from the new variables to the old ones, and from old derivatives to new ones.
    fn of(&self, x: &Vector, y: &Vector) -> (Vector, Vector) {
        (times(x, &self.x), times(y, &self.y))
    }

    fn along(&self, along: Direction<'_>) -> (Option<Vector>, Option<Vector>) {
        let x = along.x.map(|x| times(x, &self.x));
        (x, along.y.map(|y| times(y, &self.y)))
    }

    fn sides(&self, sides: Partials) -> Partials {
        let x = sides.x.map(|x| times(&x, &self.x));
        Partials { x, y: sides.y.map(|y| times(&y, &self.y)) }
    }
}

/// The entries of v, in all variables or in a part of them, times those of `by`.
fn times(v: &Vector, by: &Vector) -> Vector {
    if v.layout() == by.layout() { multiply(v, by) } else { multiply(v, &by.only(v.layout())) }
}

impl<'a> Rescaled<'a> {
    pub(crate) fn new(inner: &'a dyn Oracle, units: Units) -> Self {
        Self { inner, units }
    }

    /// The diagonals of S and T.
    pub(crate) fn units(&self) -> [&Vector; 2] {
        [&self.units.x, &self.units.y]
    }

    /// The old variables of new ones.
    pub(crate) fn old(&self, x: &Vector, y: &Vector) -> (Vector, Vector) {
        self.units.of(x, y)
    }

    /// The new variables of old ones.
    pub(crate) fn new_of(&self, x: &Vector, y: &Vector) -> (Vector, Vector) {
        let divided = |v: &Vector, by: &Vector| {
            let quotients = v.to_vec().into_iter().zip(by.to_vec()).map(|(v, by)| v / by);
            Vector::from_slice(v.layout(), &quotients.collect::<Vec<_>>(), &v.device())
        };
        (divided(x, &self.units.x), divided(y, &self.units.y))
    }

    /// The result of `ask` at a point, in the old variables.
    fn at<T>(&self, at: Point<'_>, ask: impl FnOnce(Point<'_>) -> T) -> T {
        let (x, y) = self.units.of(at.x, at.y);
        ask(Point { x: &x, y: &y, sample: at.sample })
    }
}

impl Oracle for Rescaled<'_> {
    crate::forward_oracle!(inner: upper_layout, lower_layout, batches, is_collective);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        self.at(at, |at| self.inner.value(objective, at))
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, sides) = self.at(at, |at| self.inner.gradient(objective, at, wrt));
        (loss, self.units.sides(sides))
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        let (x, y) = self.units.along(along);
        let along = Direction { x: x.as_ref(), y: y.as_ref() };
        self.units.sides(self.at(at, |at| self.inner.product(objective, at, along, wrt)))
    }

    fn linearize<'b>(
        &'b self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'b> {
        let found = self.at(at, |at| self.inner.linearize(objective, at, gradient, along, wrt));
        let Linearization { loss, gradient, hessian } = found;
        let bytes = hessian.bytes();
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            let (x, y) = self.units.along(along);
            let along = Direction { x: x.as_ref(), y: y.as_ref() };
            self.units.sides(hessian.product(along, wrt))
        };
        let gradient = self.units.sides(gradient);
        Linearization { loss, gradient, hessian: Hessian::new(product, bytes) }
    }

    fn constraints<'b>(
        &'b self,
        level: Objective,
        sample: Sample,
    ) -> Option<Box<dyn Constraints + 'b>> {
        let inner = self.inner.constraints(level, sample)?;
        Some(Box::new(RescaledConstraints { inner, units: self.units.clone() }))
    }
}

/// Constraints in other units of x and y.
#[derive(Debug)]
struct RescaledConstraints<'a> {
    inner: Box<dyn Constraints + 'a>,
    units: Units,
}

impl RescaledConstraints<'_> {
    fn pulled(&self, PulledBack { values, x, y }: PulledBack) -> PulledBack {
        let (x, y) = self.units.of(&x, &y);
        PulledBack { values, x, y }
    }
}

impl Constraints for RescaledConstraints<'_> {
    fn count(&self) -> usize {
        self.inner.count()
    }

    fn equalities(&self) -> usize {
        self.inner.equalities()
    }

    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64> {
        let (x, y) = self.units.of(x, y);
        self.inner.values(&x, &y)
    }

    fn weighted(&self, x: &Vector, y: &Vector, weights: &[f64]) -> PulledBack {
        let (x, y) = self.units.of(x, y);
        self.pulled(self.inner.weighted(&x, &y, weights))
    }

    fn product(
        &self,
        x: &Vector,
        y: &Vector,
        weights: &[f64],
        (moved, along): (&[f64], Direction<'_>),
    ) -> PulledBack {
        let (x, y) = self.units.of(x, y);
        let (dx, dy) = self.units.along(along);
        let along = Direction { x: dx.as_ref(), y: dy.as_ref() };
        self.pulled(self.inner.product(&x, &y, weights, (moved, along)))
    }

    fn join(&self, y: &Vector, multipliers: &[f64]) -> Vector {
        self.inner.join(y, multipliers)
    }

    fn split(&self, joined: &Vector) -> (Vector, Vec<f64>) {
        self.inner.split(joined)
    }
}
