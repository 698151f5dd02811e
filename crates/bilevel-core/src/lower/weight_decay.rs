//! Weight decay.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Adjoint, Coefficient, Dynamics, State, Tangent, Update, inherit, steady_step, sum};
use crate::{Error, Samples, WeightedSum};

/// `weight-decay`: any dynamics D with a decay of y towards 0, of weight w.
///
/// ```text
/// y' = D(y; g + w u)       u where g is taken: the term w norm(y)^2 / 2 of f, outside of f
/// y' = D(y; g) - w y       decoupled: no part of the optimiser's moments
/// ```
///
/// Decoupled, w is the product of the step size and the weight of [AdamW](https://arxiv.org/abs/1711.05101) (I. Loshchilov
/// and F. Hutter, "Decoupled weight decay regularization", 2019, Alg. 2).
#[derive(Clone, Debug, PartialEq)]
pub struct WeightDecay<D> {
    inner: D,
    weight: Coefficient,
    decoupled: bool,
}

impl<D: Dynamics> WeightDecay<D> {
    /// `inner` with `w u` added to its gradient; w is a number, or a [`Coefficient`] that is learned.
    ///
    /// # Errors
    /// If a fixed w is not finite and positive.
    pub fn new(inner: D, weight: impl Into<Coefficient>) -> Result<Self, Error> {
        let weight = weight.into().positive("weight decay")?;
        Ok(Self { inner, weight, decoupled: false })
    }

    /// With `w y` subtracted from the result of each step, and the gradient unchanged.
    pub fn decoupled(mut self) -> Self {
        self.decoupled = true;
        self
    }

    /// Runs `f` on the update that the inner dynamics sees.
    fn inside<R>(&self, at: &Update<'_>, f: impl FnOnce(&D, &Update<'_>) -> R) -> R {
        if self.decoupled {
            return f(&self.inner, at);
        }
        let pulled = || {
            let query = self.inner.query(at.t, at.state);
            at.gradient().add(&self.weight.times(at.now(), &query))
        };
        f(&self.inner, &Update::new(at.t, at.x, at.state, &pulled))
    }
}

impl<D: Dynamics> Dynamics for WeightDecay<D> {
    fn describe(&self) -> String {
        let how = if self.decoupled { "decoupled " } else { "" };
        format!("{}, {how}weight decay {}", self.inner.describe(), self.weight)
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.weight.check("weight decay", x.layout(), y.layout())?;
        self.inner.check(x, y)
    }

    inherit!(objective samples start query at_rest);

    // What decreases is f plus the penalty.
    fn lowers_f(&self) -> bool {
        false
    }

    fn steady(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> State {
        if self.decoupled {
            return self.inner.steady(t, x, y, slope);
        }
        self.inner.steady(t, x, y, &slope.add(&self.weight.times((x, t), y)))
    }

    fn optimality(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> Option<Vector> {
        let decay = self.weight.times((x, t), y);
        if !self.decoupled {
            let slope = slope.add(&decay);
            return Some(self.inner.optimality(t, x, y, &slope).unwrap_or(slope));
        }
        let (stepped, scale) = steady_step(&self.inner, t, (x, y, slope));
        Some(y.sub(&stepped.sub(&decay)).scale(scale))
    }

    fn step(&self, at: &Update<'_>) -> State {
        let next = self.inside(at, |inner, at| inner.step(at));
        if !self.decoupled {
            return next;
        }
        let State { y, memory } = next;
        State { y: y.sub(&self.weight.times(at.now(), &at.state.y)), memory }
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let moved =
            |of: &Vector, moves: &Vector| self.weight.tangent(at.now(), along.x, || of, moves);
        if self.decoupled {
            let pull = moved(&at.state.y, &along.state.y);
            let State { y, memory } = self.inner.tangent(at, along);
            return State { y: y.sub(&pull), memory };
        }
        let pull = moved(&self.inner.query(at.t, at.state), &self.inner.query(at.t, along.state));
        let gradient = along.gradient.add(&pull);
        let along = Tangent { gradient: &gradient, ..along };
        self.inside(at, |inner, at| inner.tangent(at, along))
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        if self.decoupled {
            let back = adjoint.y.scale(-1.0);
            let Adjoint { x, state, gradient } = self.inner.adjoint(at, adjoint);
            let learned = self.weight.adjoint(at.now(), || &at.state.y, &back);
            let y = state.y.add(&self.weight.times(at.now(), &back));
            return Adjoint { x: sum(x, learned), state: State { y, ..state }, gradient };
        }
        let Adjoint { x, state, gradient } =
            self.inside(at, |inner, at| inner.adjoint(at, adjoint));
        let query = self.inner.query(at.t, at.state);
        let learned = self.weight.adjoint(at.now(), || &query, &gradient);
        let at_query = self.weight.times(at.now(), &gradient);
        let state = self.inner.query_adjoint(at.t, &at_query, state);
        Adjoint { x: sum(x, learned), state, gradient }
    }
}
