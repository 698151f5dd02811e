//! Adam, differentiable.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Adjoint, Coefficient, Dynamics, Root, State, Tangent, Update};
use crate::Error;
use crate::error::{below_one, positive};
use crate::vector_ops::multiply;

/// `adam`, with g the lower gradient; products, roots and quotients are elementwise:
///
/// ```text
/// m' = b1 m + (1 - b1) g,   v' = b2 v + (1 - b2) g^2,   m_0 = v_0 = 0
/// y' = y - s (m' / (1 - b1^k)) / sqrt(v' / (1 - b2^k) + eps),   k = t + 1
/// ```
///
/// eps is inside the root, where Kingma and Ba have it outside: the root has no derivative at 0, and in this form y'
/// has one at g = 0. So this eps corresponds to the square of theirs; [`Adam::with_epsilon_outside`] takes it as they
/// have it.
///
/// At rest, where every gradient so far is 0 up to eps, the slope of a step in g is bounded only by eps, about
/// `s / sqrt(eps)`: 1e6 s by default. A hypergradient through such steps is exact and huge. A warning says so once per
/// descent, through `tracing`; a larger eps bounds the slope.
///
/// Requires: f twice differentiable. One gradient per step, and one more for each backward step.
///
/// Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015.
#[derive(Clone, Debug, PartialEq)]
pub struct Adam {
    step_size: Coefficient,
    decay: [f64; 2],
    root: Root,
}

/// Values that the update and its derivatives share.
struct Moments {
    memory: Vec<Vector>,
    /// `v' / (1 - b2^k)`
    corrected: Vector,
    /// `1 / sqrt(v' / (1 - b2^k) + eps)`
    inverse_root: Vector,
    /// `(y - y') / s`
    direction: Vector,
}

impl Adam {
    /// With the step size `s`, `b1 = 0.9`, `b2 = 0.999` and `eps = 1e-12`.
    ///
    /// # Errors
    /// If a fixed `s` is not finite and positive.
    pub fn new(step_size: impl Into<Coefficient>) -> Result<Self, Error> {
        let step_size = step_size.into().positive("lower step size")?;
        Ok(Self { step_size, decay: [0.9, 0.999], root: Root::Inside(1e-12) })
    }

    /// With other `b1` and `b2`.
    ///
    /// # Errors
    /// If one is not in `[0, 1)`.
    pub fn with_decay(mut self, first: f64, second: f64) -> Result<Self, Error> {
        self.decay = [below_one("b1 of adam", first)?, below_one("b2 of adam", second)?];
        Ok(self)
    }

    /// With another `b1`.
    ///
    /// # Errors
    /// If it is not in `[0, 1)`.
    pub fn with_momentum(self, first: f64) -> Result<Self, Error> {
        let [_, second] = self.decay;
        self.with_decay(first, second)
    }

    /// With another `eps`.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_epsilon(mut self, epsilon: f64) -> Result<Self, Error> {
        self.root = Root::Inside(positive("eps of adam", epsilon)?);
        Ok(self)
    }

    /// With `sqrt(v' / (1 - b2^k)) + eps` instead of the root of the sum, as in Kingma and Ba and in PyTorch; their eps
    /// is 1e-8.
    ///
    /// Where v' is 0 the root has no derivative, and that of y' in v' is taken as 0: what remains is the derivative in
    /// m', `s / eps` at the first step, which is that of y' in g from either side. Elsewhere y' has the derivative of
    /// the formula.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_epsilon_outside(mut self, epsilon: f64) -> Result<Self, Error> {
        self.root = Root::Outside(positive("eps of adam", epsilon)?);
        Ok(self)
    }

    /// `1 / (1 - b^k)` for both moments.
    fn corrections(&self, t: usize) -> [f64; 2] {
        let k = i32::try_from(t.saturating_add(1)).unwrap_or(i32::MAX);
        self.decay.map(|b| 1.0 / (1.0 - b.powi(k)))
    }

    fn moments(&self, at: &Update<'_>) -> Moments {
        let ([b1, b2], [c1, c2]) = (self.decay, self.corrections(at.t));
        let g = at.gradient();
        let first = at.state.memory[0].scale(b1).axpy(1.0 - b1, g);
        let second = at.state.memory[1].scale(b2).axpy(1.0 - b2, &multiply(g, g));
        let corrected = second.scale(c2);
        let inverse_root = self.root.inverse(&corrected);
        let direction = multiply(&first.scale(c1), &inverse_root);
        Moments { memory: vec![first, second], corrected, inverse_root, direction }
    }

    /// `v -> d direction / dv'`, its own adjoint.
    fn in_second(&self, t: usize, now: &Moments, v: &Vector) -> Vector {
        let slope = self.root.slope(&now.corrected, &now.inverse_root);
        multiply(&multiply(&now.direction, &slope), v).scale(self.corrections(t)[1])
    }
}

impl Dynamics for Adam {
    fn describe(&self) -> String {
        let [b1, b2] = self.decay;
        format!("adam(step size {}, b1 {b1}, b2 {b2}, {})", self.step_size, self.root)
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.step_size.check("lower step size", x.layout(), y.layout())
    }

    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: vec![y.zeros_like(), y.zeros_like()] }
    }

    fn steady(&self, t: usize, _: &Vector, y: &Vector, slope: &Vector) -> State {
        let shares = self.decay.map(|b| 1.0 - b.powi(i32::try_from(t).unwrap_or(i32::MAX)));
        let memory = vec![slope.scale(shares[0]), multiply(slope, slope).scale(shares[1])];
        State { y: y.clone(), memory }
    }

    fn at_rest(&self, t: usize, state: &State) -> Option<Tensor<1>> {
        let [_, correction] = self.corrections(t.checked_sub(1)?);
        self.root.at_rest(&state.memory[1].scale(correction))
    }

    fn step(&self, at: &Update<'_>) -> State {
        let now = self.moments(at);
        let moved = self.step_size.times(at.now(), &now.direction);
        State { y: at.state.y.sub(&moved), memory: now.memory }
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let ([b1, b2], [c1, _]) = (self.decay, self.corrections(at.t));
        let now = self.moments(at);
        let g_dg = multiply(at.gradient(), along.gradient);
        let first = along.state.memory[0].scale(b1).axpy(1.0 - b1, along.gradient);
        let second = along.state.memory[1].scale(b2).axpy(2.0 * (1.0 - b2), &g_dg);
        let turned =
            multiply(&first.scale(c1), &now.inverse_root).add(&self.in_second(at.t, &now, &second));
        let moved = self.step_size.tangent(at.now(), along.x, || &now.direction, &turned);
        State { y: along.state.y.sub(&moved), memory: vec![first, second] }
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let ([b1, b2], [c1, _]) = (self.decay, self.corrections(at.t));
        let now = self.moments(at);
        let back = adjoint.y.scale(-1.0);
        let turned = self.step_size.times(at.now(), &back);
        let first = adjoint.memory[0].axpy(c1, &multiply(&turned, &now.inverse_root));
        let second = adjoint.memory[1].add(&self.in_second(at.t, &now, &turned));
        let through_square = multiply(at.gradient(), &second).scale(2.0 * (1.0 - b2));
        Adjoint {
            x: self.step_size.adjoint(at.now(), || &now.direction, &back),
            gradient: through_square.axpy(1.0 - b1, &first),
            state: State { y: adjoint.y, memory: vec![first.scale(b1), second.scale(b2)] },
        }
    }
}
