//! How a variable of a joint method moves along the method's direction.

use std::fmt::Debug;

use bilevel_program::Vector;

use crate::error::{below_one, not_negative};
use crate::{Error, Moments, Snapshot};

/// Turns the direction of a method into the direction of its step, `y' = y - a along(y, d)`: [`HeavyBall`], or
/// [`Moments`], that of Adam.
pub trait StepDirection: Debug + Send {
    /// The direction of the step of `variable`, for the direction `along` of the method.
    fn along(&mut self, variable: &Vector, along: &Vector) -> Vector;

    /// Writes its memory between steps.
    fn save(&self, to: &mut Snapshot);

    /// Reads it back. Vectors are like `like`.
    ///
    /// # Errors
    /// If it is not this memory.
    fn restore(&mut self, from: &mut Snapshot, like: &Vector) -> Result<(), Error>;
}

/// Momentum and weight decay of one variable, instead of the plain step `y' = y - a d`:
///
/// ```text
/// v' = m v + d + w y,   y' = y - a v',   from v = 0
/// ```
///
/// or, by [`HeavyBall::with_nesterov`], `y' = y - a (d + w y + m v')`, as networks are trained. The direction d and the
/// step size a remain the method's; steps that the method makes in advance, such as the one step of y through which
/// [`NsGame`](crate::NsGame) sees x, remain plain, as in its source.
///
/// Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; with the step size
/// outside of v, which matters where it changes: I. Sutskever et al., "On the importance of initialization and momentum
/// in deep learning", 2013, as in deep-learning libraries.
#[derive(Clone, Debug)]
pub struct HeavyBall {
    momentum: f64,
    weight_decay: f64,
    nesterov: bool,
    velocity: Option<Vector>,
}

impl HeavyBall {
    /// With the momentum m and the weight decay w.
    ///
    /// # Errors
    /// If m is not in `[0, 1)`, or w not finite and at least 0.
    pub fn new(momentum: f64, weight_decay: f64) -> Result<Self, Error> {
        Ok(Self {
            momentum: below_one("momentum", momentum)?,
            weight_decay: not_negative("weight decay", weight_decay)?,
            nesterov: false,
            velocity: None,
        })
    }

    /// With the gradient added once more to the velocity, which is Nesterov's momentum in deep-learning libraries.
    pub fn with_nesterov(mut self) -> Self {
        self.nesterov = true;
        self
    }
}

impl StepDirection for HeavyBall {
    fn along(&mut self, variable: &Vector, along: &Vector) -> Vector {
        let decayed = match self.weight_decay {
            0.0 => along.clone(),
            decay => along.axpy(decay, variable),
        };
        let velocity = match self.velocity.take() {
            Some(velocity) => decayed.axpy(self.momentum, &velocity),
            None => decayed.clone(),
        };
        self.velocity = Some(velocity.clone());
        if self.nesterov { decayed.axpy(self.momentum, &velocity) } else { velocity }
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_optional_vector("velocity", self.velocity.as_ref());
    }

    fn restore(&mut self, from: &mut Snapshot, like: &Vector) -> Result<(), Error> {
        self.velocity = from.take_optional_vector("velocity", like)?;
        Ok(())
    }
}

impl StepDirection for Moments {
    fn along(&mut self, _: &Vector, along: &Vector) -> Vector {
        self.rescale(along)
    }

    fn save(&self, to: &mut Snapshot) {
        self.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, like: &Vector) -> Result<(), Error> {
        self.restore(from, like)
    }
}
