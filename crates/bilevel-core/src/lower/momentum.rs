//! Gradient descent with momentum.

use bilevel_program::{Vector, float};

use super::{Adjoint, Coefficient, Dynamics, State, Tangent, Update, sum};
use crate::Error;
use crate::vector_ops::zip_flat;

/// `momentum`, the heavy ball: `v' = m v - s f_y(x, y)`, `y' = y + v'`, from `v = 0`.
///
/// Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
#[derive(Clone, Debug, PartialEq)]
pub struct Momentum {
    step_size: Coefficient,
    momentum: Coefficient,
}

impl Momentum {
    /// With the step size `s` and the momentum `m`: numbers, or [`Coefficient`]s that are learned.
    ///
    /// # Errors
    /// If a fixed `s` is not finite and positive, or a fixed `m` not in `[0, 1)`.
    pub fn new(
        step_size: impl Into<Coefficient>,
        momentum: impl Into<Coefficient>,
    ) -> Result<Self, Error> {
        Ok(Self {
            step_size: step_size.into().positive("lower step size")?,
            momentum: momentum.into().below_one("momentum")?,
        })
    }
}

// Besides y, y' depends only on v'.
fn moved(y: &Vector, velocity: Vector) -> State {
    State { y: y.add(&velocity), memory: vec![velocity] }
}

impl Dynamics for Momentum {
    fn describe(&self) -> String {
        format!("momentum(step size {}, momentum {})", self.step_size, self.momentum)
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.step_size.check("lower step size", x.layout(), y.layout())?;
        self.momentum.check("momentum", x.layout(), y.layout())
    }

    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: vec![y.zeros_like()] }
    }

    fn steady(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> State {
        let ones = y.zeros_like().map(|leaf| float::add_scalar(leaf, 1.0));
        let (push, kept) =
            (self.step_size.times((x, t), slope), self.momentum.times((x, t), &ones));
        let velocity = zip_flat(&push, &kept, |push, kept| push / (kept - 1.0));
        State { y: y.clone(), memory: vec![velocity] }
    }

    fn step(&self, at: &Update<'_>) -> State {
        let kept = self.momentum.times(at.now(), &at.state.memory[0]);
        let push = self.step_size.times(at.now(), at.gradient());
        moved(&at.state.y, kept.sub(&push))
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let velocity = &at.state.memory[0];
        let kept = self.momentum.tangent(at.now(), along.x, || velocity, &along.state.memory[0]);
        let push = self.step_size.tangent(at.now(), along.x, || at.gradient(), along.gradient);
        moved(&along.state.y, kept.sub(&push))
    }

    // The adjoint of v' is l_v + l_y.
    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let velocity = adjoint.memory[0].add(&adjoint.y);
        let back = velocity.scale(-1.0);
        Adjoint {
            x: sum(
                self.momentum.adjoint(at.now(), || &at.state.memory[0], &velocity),
                self.step_size.adjoint(at.now(), || at.gradient(), &back),
            ),
            gradient: self.step_size.times(at.now(), &back),
            state: State { y: adjoint.y, memory: vec![self.momentum.times(at.now(), &velocity)] },
        }
    }
}
