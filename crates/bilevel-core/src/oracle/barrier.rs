//! Constraints as barriers in the losses.

use bilevel_program::Vector;

use super::{Constraints, Direction, Hessian, Linearization, Loss, Oracle, Partials, Point, Wrt};
use crate::constrained::{Curved, SmoothBarrier, Terms};
use crate::error::positive;
use crate::{Error, Objective, Sample};

/// An oracle with a smooth barrier of the [constraints](crate::BilevelProblem::constraints) of each level in its loss,
/// so that any method satisfies them up to the weight mu:
///
/// ```text
/// F + sum_j b(G_j) + sum_k H_k^2 / (2 mu),   f + sum_j b(g_j) + sum_k h_k^2 / (2 mu)
/// b(g) = -mu ln(-g) where g <= -mu, its expansion to second order elsewhere
/// ```
///
/// Twice continuously differentiable, finite everywhere and convex in the values of the constraints: no start needs to
/// be feasible. Its derivatives are exact. If the multiplier of a constraint is above 2, it is violated by mu times the
/// excess; so runs end as [stationary](crate::Ending::Stationary) only where mu is below their tolerance. Both losses
/// have curvature of the order of `1 / mu` outside the constraints: step sizes must be small accordingly, or found by
/// the method. [`Barrier`](crate::Barrier) decreases mu.
///
/// A product costs one of the loss, one of the constraints and a pullback of them.
///
/// Source: A. Ben-Tal and M. Zibulevsky, "Penalty/barrier multiplier methods for convex programming problems", 1997.
pub struct BarrierOracle<O> {
    inner: O,
    mu: f64,
    /// The only level that has a barrier.
    only: Option<Objective>,
}

impl<O: Oracle> BarrierOracle<O> {
    /// With the weight mu.
    ///
    /// # Errors
    /// If mu is not finite and positive.
    pub fn new(inner: O, mu: f64) -> Result<Self, Error> {
        Ok(Self { inner, mu: positive("weight of the barriers", mu)?, only: None })
    }

    /// In the loss of one level alone, for a method that handles the constraints of the other.
    pub fn only(mut self, level: Objective) -> Self {
        self.only = Some(level);
        self
    }

    fn of(&self, level: Objective, sample: Sample) -> Option<Level<'_>> {
        if self.only.is_some_and(|only| only != level) {
            return None;
        }
        let constraints = self.inner.constraints(level, sample)?;
        let barrier = SmoothBarrier::new(self.mu, constraints.as_ref());
        Some(Level { constraints, barrier })
    }
}

/// The constraints of a level and their barrier.
struct Level<'a> {
    constraints: Box<dyn Constraints + 'a>,
    barrier: SmoothBarrier,
}

impl Level<'_> {
    fn curved(&self, at: Point<'_>) -> Curved {
        Curved::at(self.constraints.as_ref(), &self.barrier, (at.x, at.y))
    }

    /// Its value, and its gradient added to that of the loss.
    fn gradient(&self, at: Point<'_>, sides: Partials) -> (f64, Partials) {
        let mut weigh = |values: &[f64]| self.barrier.slopes(values);
        let pulled = self.constraints.pull_back(at.x, at.y, &mut weigh);
        (self.barrier.sum(&pulled.values), add(sides, [&pulled.x, &pulled.y]))
    }

    fn product(&self, curved: &Curved, along: Direction<'_>, sides: Partials) -> Partials {
        let [x, y] = curved.product(self.constraints.as_ref(), along);
        add(sides, [&x, &y])
    }
}

/// The sum, in the variables that the first has.
fn add(sides: Partials, [x, y]: [&Vector; 2]) -> Partials {
    let in_y = |side: Vector| {
        if side.layout() == y.layout() {
            side.add(y)
        } else {
            side.axpy(1.0, &y.only(side.layout()))
        }
    };
    Partials { x: sides.x.map(|side| side.add(x)), y: sides.y.map(in_y) }
}

impl<O: Oracle> Oracle for BarrierOracle<O> {
    crate::forward_oracle!(inner: upper_layout, lower_layout, constraints, batches, is_collective);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        let Loss(loss) = self.inner.value(objective, at);
        let barrier = self
            .of(objective, at.sample)
            .map_or(0.0, |level| level.barrier.sum(&level.constraints.values(at.x, at.y)));
        Loss(loss + barrier)
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, sides) = self.inner.gradient(objective, at, wrt);
        let Some(level) = self.of(objective, at.sample) else { return (loss, sides) };
        let (barrier, sides) = level.gradient(at, sides);
        (Loss(loss.0 + barrier), sides)
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        let sides = self.inner.product(objective, at, along, wrt);
        let Some(level) = self.of(objective, at.sample) else { return sides };
        level.product(&level.curved(at), along, sides)
    }

    fn linearize<'b>(
        &'b self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'b> {
        let found = self.inner.linearize(objective, at, gradient, along, wrt);
        let Some(level) = self.of(objective, at.sample) else { return found };
        let Linearization { mut loss, mut gradient, hessian } = found;
        if let Some(Loss(of_loss)) = loss {
            let (barrier, sides) = level.gradient(at, gradient);
            (loss, gradient) = (Some(Loss(of_loss + barrier)), sides);
        }
        let (curved, bytes) = (level.curved(at), hessian.bytes());
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            level.product(&curved, along, hessian.product(along, wrt))
        };
        Linearization { loss, gradient, hessian: Hessian::new(product, bytes) }
    }
}
