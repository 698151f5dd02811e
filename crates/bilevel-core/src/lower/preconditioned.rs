//! A learned linear map of the gradient before any other dynamics.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Adjoint, Dynamics, Preconditioner, State, Tangent, Update, inherit, sum};
use crate::{Error, Samples, WeightedSum};

/// `preconditioned`: another dynamics with `P(x) g` as its gradient g, where `P(x)` is linear in g and learned with x.
/// With [`Gd`](crate::Gd): `y' = y - s P(x) f_y(x, y)`.
///
/// `T-Net` and `WarpGrad` need no preconditioner: see [`Gd`](crate::Gd).
///
/// A backward step costs one gradient of the lower objective more than that of the inner dynamics.
///
/// Source: [survey, Eq. 31](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Debug, PartialEq)]
pub struct Preconditioned<D, P> {
    inner: D,
    preconditioner: P,
}

impl<D, P> Preconditioned<D, P> {
    /// `inner` with gradients transformed by `preconditioner`.
    pub fn new(inner: D, preconditioner: P) -> Self {
        Self { inner, preconditioner }
    }

    /// Runs `f` on the update that the inner dynamics sees.
    fn inside<R>(&self, at: &Update<'_>, f: impl FnOnce(&D, &Update<'_>) -> R) -> R
    where
        P: Preconditioner,
    {
        let turned = || self.preconditioner.apply(at.x, at.gradient());
        f(&self.inner, &Update::new(at.t, at.x, at.state, &turned))
    }
}

impl<D: Dynamics, P: Preconditioner> Dynamics for Preconditioned<D, P> {
    fn describe(&self) -> String {
        format!("preconditioned({}, {})", self.inner.describe(), self.preconditioner.describe())
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.preconditioner.check(x.layout(), y.layout())?;
        self.inner.check(x, y)
    }

    inherit!(objective samples lowers_f start query at_rest optimality);

    fn steady(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> State {
        self.inner.steady(t, x, y, &self.preconditioner.apply(x, slope))
    }

    fn step(&self, at: &Update<'_>) -> State {
        self.inside(at, |inner, at| inner.step(at))
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let mut gradient = self.preconditioner.apply(at.x, along.gradient);
        if let Some(dx) = along.x {
            gradient = gradient.add(&self.preconditioner.tangent(at.x, dx, at.gradient()));
        }
        let along = Tangent { gradient: &gradient, ..along };
        self.inside(at, |inner, at| inner.tangent(at, along))
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let back = self.inside(at, |inner, at| inner.adjoint(at, adjoint));
        let learned = self.preconditioner.adjoint(at.x, at.gradient(), &back.gradient);
        Adjoint {
            x: sum(back.x, Some(learned)),
            gradient: self.preconditioner.transpose(at.x, &back.gradient),
            state: back.state,
        }
    }
}
