//! Momentum for the variables of a joint method.

use bilevel_program::Vector;

use crate::error::{below_one, not_negative};
use crate::{Error, Snapshot};

/// Momentum and weight decay of one variable, in place of the plain step `y' = y - a d`:
///
/// ```text
/// v' = m v + d + w y,   y' = y - a v',   from v = 0
/// ```
///
/// as networks are trained. The direction d and the step size a remain the method's; what it takes ahead of the
/// step, as the one step of y through which [`NsGame`](crate::NsGame) sees x, remains plain, as in its source.
///
/// Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; with the step
/// size outside of v, which matters where it changes: I. Sutskever et al., "On the importance of initialization
/// and momentum in deep learning", 2013, as deep-learning libraries have it.
#[derive(Clone, Debug)]
pub struct HeavyBall {
    momentum: f64,
    weight_decay: f64,
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
            velocity: None,
        })
    }

    /// v', which is kept, at `variable` along `along`.
    pub(super) fn along(&mut self, variable: &Vector, along: &Vector) -> &Vector {
        let decayed = match self.weight_decay {
            0.0 => along.clone(),
            decay => along.axpy(decay, variable),
        };
        let velocity = match self.velocity.take() {
            Some(velocity) => decayed.axpy(self.momentum, &velocity),
            None => decayed,
        };
        self.velocity.insert(velocity)
    }

    pub(crate) fn save(&self, to: &mut Snapshot) {
        to.put_optional_vector("velocity", self.velocity.as_ref());
    }

    pub(crate) fn restore(&mut self, from: &mut Snapshot, like: &Vector) -> Result<(), Error> {
        self.velocity = from.take_optional_vector("velocity", like)?;
        Ok(())
    }
}
