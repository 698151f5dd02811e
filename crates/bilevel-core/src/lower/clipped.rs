//! Clipped gradients.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Adjoint, Dynamics, State, Tangent, Update, inherit};
use crate::error::{not_negative, positive};
use crate::{Ball, Bounds, Error, Projection, Samples, WeightedSum};

/// `clipped`: any dynamics with `P(g)` in place of the gradient g, P being the projection onto a set.
///
/// [`Clipped::by_value`] clips each entry to `[-c, c]`; [`Clipped::by_norm`] scales the whole gradient down to the norm
/// c if it is longer: `g min(1, c / norm(g))`. P is nonlinear at its bound, so a backward step costs one gradient more
/// than that of the dynamics. Its derivative at the bound itself is one-sided.
///
/// Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks", 2013, Alg. 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Clipped<D, P> {
    inner: D,
    set: P,
}

impl<D> Clipped<D, Bounds> {
    /// `inner` with each entry of the gradient in `[-limit, limit]`.
    ///
    /// # Errors
    /// If the limit is negative or not finite.
    pub fn by_value(inner: D, limit: f64) -> Result<Self, Error> {
        let limit = not_negative("clipping limit", limit)?;
        Ok(Self { inner, set: Bounds::new(-limit, limit)? })
    }
}

impl<D> Clipped<D, Ball> {
    /// `inner` with a gradient of at most this norm, over all variables together.
    ///
    /// # Errors
    /// If the norm is not finite and positive.
    pub fn by_norm(inner: D, norm: f64) -> Result<Self, Error> {
        let norm = positive("clipping norm", norm)?;
        Ok(Self { inner, set: Ball::new(norm)? })
    }
}

impl<D: Dynamics, P: Projection> Clipped<D, P> {
    /// Runs `f` on the update that the inner dynamics sees.
    fn inside<R>(&self, at: &Update<'_>, f: impl FnOnce(&D, &Update<'_>) -> R) -> R {
        let clipped = || self.set.apply(at.gradient());
        f(&self.inner, &Update::new(at.t, at.x, at.state, &clipped))
    }
}

impl<D: Dynamics, P: Projection> Dynamics for Clipped<D, P> {
    fn describe(&self) -> String {
        format!("clipped({}, gradient in {})", self.inner.describe(), self.set.describe())
    }

    inherit!(check objective samples lowers_f start query at_rest optimality);

    fn steady(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> State {
        self.inner.steady(t, x, y, &self.set.apply(slope))
    }

    fn step(&self, at: &Update<'_>) -> State {
        self.inside(at, |inner, at| inner.step(at))
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let gradient = self.set.derivative(at.gradient(), along.gradient);
        let along = Tangent { gradient: &gradient, ..along };
        self.inside(at, |inner, at| inner.tangent(at, along))
    }

    // The derivative of a projection is symmetric.
    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let back = self.inside(at, |inner, at| inner.adjoint(at, adjoint));
        let gradient = self.set.derivative(at.gradient(), &back.gradient);
        Adjoint { gradient, ..back }
    }
}
