//! Nesterov's accelerated gradient descent.

use bilevel_program::Vector;

use super::{Adjoint, Coefficient, Dynamics, State, Tangent, Update};
use crate::Error;

/// `nesterov`: gradients at a point extrapolated from the last two,
///
/// ```text
/// u_k = y_k + beta_k (y_k - y_{k-1}),   y_{k+1} = u_k - s f_y(x, u_k),   y_{-1} = y_0
/// beta_0 = 0,   beta_k = (t_{k-1} - 1) / t_k,   t_0 = 1,   t_{k+1} = (1 + sqrt(1 + c t_k^2)) / 2
/// ```
///
/// [`Nesterov::new`] takes c = 1, as printed in [IAPTT-GM, Eq. 9](https://arxiv.org/abs/2110.00455): `t_k` increases to
/// 4/3 and the extrapolation to 1/4, a small momentum. [`Nesterov::standard`] takes c = 4, as Nesterov and FISTA do:
/// `t_k` grows as k/2, the extrapolation to 1, and on a convex f the error decreases as `1/k^2`. Wrapped in
/// [`Projected`](crate::Projected), this is that paper's dynamics with a constraint.
///
/// Converges on a convex f for `s <= 1 / L`, L the largest eigenvalue of `f_yy`. One gradient per step; step k adds k
/// square roots on the host.
///
/// Source: Y. Nesterov, "A method for solving the convex programming problem with convergence rate
/// O(1/k^2)", 1983; A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009.
#[derive(Clone, Debug, PartialEq)]
pub struct Nesterov {
    step_size: Coefficient,
    growth: f64,
}

impl Nesterov {
    /// With the step size `s` and the sequence as printed in IAPTT-GM.
    ///
    /// # Errors
    /// If a fixed `s` is not finite and positive.
    pub fn new(step_size: impl Into<Coefficient>) -> Result<Self, Error> {
        Ok(Self { step_size: step_size.into().positive("lower step size")?, growth: 1.0 })
    }

    /// With the step size `s` and the sequence of Nesterov and FISTA.
    ///
    /// # Errors
    /// As [`Nesterov::new`].
    pub fn standard(step_size: impl Into<Coefficient>) -> Result<Self, Error> {
        Ok(Self { growth: 4.0, ..Self::new(step_size)? })
    }

    /// `beta_k`.
    pub fn extrapolation(&self, k: usize) -> f64 {
        let (mut before, mut t) = (1.0_f64, 1.0_f64);
        for _ in 0..k {
            (before, t) = (t, (1.0 + (1.0 + self.growth * t * t).sqrt()) / 2.0);
        }
        (before - 1.0) / t
    }
}

impl Dynamics for Nesterov {
    fn describe(&self) -> String {
        let sequence = if self.growth == 4.0 { "standard" } else { "as printed" };
        format!("nesterov(step size {}, sequence {sequence})", self.step_size)
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.step_size.check("lower step size", x.layout(), y.layout())
    }

    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: vec![y.clone()] }
    }

    fn start_adjoint(&self, adjoint: State) -> Vector {
        adjoint.y.add(&adjoint.memory[0])
    }

    fn query(&self, t: usize, state: &State) -> Vector {
        let last_move = state.y.sub(&state.memory[0]);
        state.y.axpy(self.extrapolation(t), &last_move)
    }

    fn query_adjoint(&self, t: usize, at_query: &Vector, adjoint: State) -> State {
        let beta = self.extrapolation(t);
        State {
            y: adjoint.y.axpy(1.0 + beta, at_query),
            memory: vec![adjoint.memory[0].axpy(-beta, at_query)],
        }
    }

    fn step(&self, at: &Update<'_>) -> State {
        let moved = self.step_size.times(at.now(), at.gradient());
        State { y: self.query(at.t, at.state).sub(&moved), memory: vec![at.state.y.clone()] }
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let moved = self.step_size.tangent(at.now(), along.x, || at.gradient(), along.gradient);
        State { y: self.query(at.t, along.state).sub(&moved), memory: vec![along.state.y.clone()] }
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let back = adjoint.y.scale(-1.0);
        // y is passed on as y_{k-1}, and both determine u.
        let carried = at.state.of_y(adjoint.memory[0].clone());
        Adjoint {
            x: self.step_size.adjoint(at.now(), || at.gradient(), &back),
            gradient: self.step_size.times(at.now(), &back),
            state: self.query_adjoint(at.t, &adjoint.y, carried),
        }
    }
}
