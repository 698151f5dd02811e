//! A proximal map after the steps of another dynamics.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Adjoint, Dynamics, State, Tangent, Update, inherit, steady_step, sum};
use crate::{Error, Proximal, Samples, WeightedSum};

/// `projected`: `y' = P(D(y))` with any dynamics D and any proximal map P, such as the projection onto a box, a ball or
/// a simplex.
///
/// The memory of D is unchanged, and `y_0` is not moved. The derivative of P is taken at `D(y)`; it exists almost
/// everywhere. A map that depends on x, such as [`SoftThreshold`] with a learned weight, is differentiated in x too. A
/// backward step costs one gradient of the lower objective more than that of D.
///
/// Source: [IAPTT-GM, Alg. 1](https://arxiv.org/abs/2110.00455); with [`SoftThreshold`] and
/// [`Gd`](crate::Gd) proximal gradient descent.
///
/// [`SoftThreshold`]: crate::SoftThreshold
#[derive(Clone, Debug, PartialEq)]
pub struct Projected<D, P> {
    inner: D,
    map: P,
}

impl<D, P> Projected<D, P> {
    /// `map` after every step of `inner`.
    pub fn new(inner: D, map: P) -> Self {
        Self { inner, map }
    }
}

impl<D: Dynamics, P: Proximal> Dynamics for Projected<D, P> {
    fn describe(&self) -> String {
        format!("projected({} onto {})", self.inner.describe(), self.map.describe())
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.map.check(x.layout())?;
        self.inner.check(x, y)
    }

    // A start outside the set, or another convex term, may increase f.
    fn lowers_f(&self) -> bool {
        false
    }

    inherit!(objective samples start query at_rest steady);

    fn optimality(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> Option<Vector> {
        let (stepped, scale) = steady_step(&self.inner, t, (x, y, slope));
        Some(y.sub(&self.map.apply_at(x, &stepped)).scale(scale))
    }

    fn step(&self, at: &Update<'_>) -> State {
        let State { y, memory } = self.inner.step(at);
        State { y: self.map.apply_at(at.x, &y), memory }
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let dx = along.x;
        let State { y, memory } = self.inner.tangent(at, along);
        let inside = self.inner.step(at).y;
        let y = self.map.derivative_at(at.x, &inside, &y);
        let moved = dx.and_then(|dx| self.map.tangent_in_x(at.x, &inside, dx));
        State { y: moved.map_or(y.clone(), |moved| y.add(&moved)), memory }
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let inside = self.inner.step(at).y;
        let y = self.map.derivative_at(at.x, &inside, &adjoint.y);
        let in_x = self.map.adjoint_in_x(at.x, &inside, &adjoint.y);
        let Adjoint { x, state, gradient } =
            self.inner.adjoint(at, State { y, memory: adjoint.memory });
        Adjoint { x: sum(x, in_x), state, gradient }
    }
}
