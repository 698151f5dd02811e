//! Gradient descent with momentum.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{Adjoint, Dynamics, State, Tangent, Update};
use crate::Error;
use crate::error::positive;

/// `momentum`, the heavy ball: `v' = m v - s f_y(x, y)`, `y' = y + v'`, from `v = 0`.
///
/// Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    step_size: f64,
    momentum: f64,
}

impl Momentum {
    /// With the step size `s` and the momentum `m`.
    ///
    /// # Errors
    /// If `s` is not finite and positive, or `m` not in `[0, 1)`.
    pub fn new(step_size: f64, momentum: f64) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&momentum) {
            return Err(Error::InvalidSetting {
                setting: "momentum",
                found: momentum.to_string(),
                expected: "a number in [0, 1)",
                cure: "0.9 is common",
            });
        }
        Ok(Self { step_size: positive("lower step size", step_size)?, momentum })
    }

    // U is linear: its own tangent.
    fn update<B: Backend>(&self, state: &State<B>, gradient: &Vector<B>) -> State<B> {
        let velocity = state.memory[0].scale(self.momentum).axpy(-self.step_size, gradient);
        State { y: state.y.add(&velocity), memory: vec![velocity] }
    }
}

impl<B: Backend> Dynamics<B> for Momentum {
    fn describe(&self) -> String {
        format!("momentum(step size {}, momentum {})", self.step_size, self.momentum)
    }

    fn start(&self, y: &Vector<B>) -> State<B> {
        State { y: y.clone(), memory: vec![y.zeros_like()] }
    }

    fn step(&self, at: &Update<'_, B>) -> State<B> {
        self.update(at.state, at.gradient())
    }

    fn tangent(&self, _: &Update<'_, B>, along: Tangent<'_, B>) -> State<B> {
        self.update(along.state, along.gradient)
    }

    // y' depends on v' alone beside y: the adjoint of v' is l_v + l_y.
    fn adjoint(&self, _: &Update<'_, B>, adjoint: State<B>) -> Adjoint<B> {
        let velocity = adjoint.memory[0].add(&adjoint.y);
        Adjoint {
            x: None,
            gradient: velocity.scale(-self.step_size),
            state: State { y: adjoint.y, memory: vec![velocity.scale(self.momentum)] },
        }
    }
}
