//! RMSProp, differentiable.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Adjoint, Coefficient, Dynamics, Root, State, Tangent, Update};
use crate::Error;
use crate::error::{below_one, positive};
use crate::vector_ops::multiply;

/// `rms-prop`, with g the lower gradient; products, roots and quotients are elementwise:
///
/// ```text
/// v' = b v + (1 - b) g^2,   v_0 = 0
/// y' = y - s g / sqrt(v' + eps)
/// ```
///
/// eps is inside the root, as in [`Adam`](crate::Adam): the root has no derivative at 0, and in this form y' has one at
/// g = 0. [`RmsProp::with_epsilon_outside`] takes it out. The first step has the size `s / sqrt(1 - b)`.
///
/// At rest, where the gradients are 0 up to eps, the slope of a step in g is `s / sqrt(eps)`, 1e6 s by default: a
/// hypergradient through such steps is exact and huge. A warning says so once per descent, through `tracing`; a larger
/// eps bounds the slope.
///
/// Requires: f twice differentiable. One gradient per step, and one more for each backward step.
///
/// Source: T. Tieleman and G. Hinton, "Lecture 6.5 - RMSProp", Neural Networks for Machine Learning, 2012,
/// which has no eps.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsProp {
    step_size: Coefficient,
    decay: f64,
    root: Root,
}

/// Values that the update and its derivatives share.
struct Scaled {
    second: Vector,
    /// `r = 1 / sqrt(v' + eps)`
    inverse_root: Vector,
    /// `d = g r`
    direction: Vector,
}

impl Scaled {
    /// `v -> dd/dv' v = d r' / r v`, its own adjoint.
    fn in_second(&self, root: Root, v: &Vector) -> Vector {
        let slope = root.slope(&self.second, &self.inverse_root);
        multiply(&multiply(&self.direction, &slope), v)
    }
}

impl RmsProp {
    /// With the step size `s`, `b = 0.9` and `eps = 1e-12`.
    ///
    /// # Errors
    /// If a fixed `s` is not finite and positive.
    pub fn new(step_size: impl Into<Coefficient>) -> Result<Self, Error> {
        let step_size = step_size.into().positive("lower step size")?;
        Ok(Self { step_size, decay: 0.9, root: Root::Inside(1e-12) })
    }

    /// With another `b`.
    ///
    /// # Errors
    /// If it is not in `[0, 1)`.
    pub fn with_decay(mut self, decay: f64) -> Result<Self, Error> {
        self.decay = below_one("b of rms-prop", decay)?;
        Ok(self)
    }

    /// With another `eps`.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_epsilon(mut self, epsilon: f64) -> Result<Self, Error> {
        self.root = Root::Inside(positive("eps of rms-prop", epsilon)?);
        Ok(self)
    }

    /// With `sqrt(v') + eps` instead of the root of the sum, as in PyTorch, whose eps is 1e-8.
    ///
    /// Where v' is 0 the root has no derivative, and that of y' in v' is taken as 0: what remains is `s / eps`, which
    /// is that of y' in g from either side. Elsewhere y' has the derivative of the formula.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_epsilon_outside(mut self, epsilon: f64) -> Result<Self, Error> {
        self.root = Root::Outside(positive("eps of rms-prop", epsilon)?);
        Ok(self)
    }

    fn scaled(&self, at: &Update<'_>) -> Scaled {
        let g = at.gradient();
        let second = at.state.memory[0].scale(self.decay).axpy(1.0 - self.decay, &multiply(g, g));
        let inverse_root = self.root.inverse(&second);
        let direction = multiply(g, &inverse_root);
        Scaled { second, inverse_root, direction }
    }
}

impl Dynamics for RmsProp {
    fn describe(&self) -> String {
        format!("rms-prop(step size {}, b {}, {})", self.step_size, self.decay, self.root)
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.step_size.check("lower step size", x.layout(), y.layout())
    }

    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: vec![y.zeros_like()] }
    }

    fn steady(&self, _: usize, _: &Vector, y: &Vector, slope: &Vector) -> State {
        State { y: y.clone(), memory: vec![multiply(slope, slope)] }
    }

    fn at_rest(&self, _: usize, state: &State) -> Option<Tensor<1>> {
        self.root.at_rest(&state.memory[0])
    }

    fn step(&self, at: &Update<'_>) -> State {
        let now = self.scaled(at);
        let moved = self.step_size.times(at.now(), &now.direction);
        State { y: at.state.y.sub(&moved), memory: vec![now.second] }
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let now = self.scaled(at);
        let g_dg = multiply(at.gradient(), along.gradient);
        let second = along.state.memory[0].scale(self.decay).axpy(2.0 * (1.0 - self.decay), &g_dg);
        let turned =
            multiply(along.gradient, &now.inverse_root).add(&now.in_second(self.root, &second));
        let moved = self.step_size.tangent(at.now(), along.x, || &now.direction, &turned);
        State { y: along.state.y.sub(&moved), memory: vec![second] }
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let now = self.scaled(at);
        let back = adjoint.y.scale(-1.0);
        let turned = self.step_size.times(at.now(), &back);
        let second = adjoint.memory[0].add(&now.in_second(self.root, &turned));
        let through_square = multiply(at.gradient(), &second).scale(2.0 * (1.0 - self.decay));
        Adjoint {
            x: self.step_size.adjoint(at.now(), || &now.direction, &back),
            gradient: multiply(&turned, &now.inverse_root).add(&through_square),
            state: State { y: adjoint.y, memory: vec![second.scale(self.decay)] },
        }
    }
}
