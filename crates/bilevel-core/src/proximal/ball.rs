//! The Euclidean ball.

use bilevel_program::Vector;
use burn::tensor::Tensor;

use super::{Projection, Proximal};
use crate::Error;
use crate::error::positive;
use crate::vector_ops::{inner, norm, scale_by};

/// The projection onto the ball `norm(y) <= r` around 0, over all variables together.
///
/// With `n = norm(y) > r`: `P(y) = r y / n` and `P'(y) d = (r / n) (d - <y, d> y / n^2)`; inside, P is the
/// identity. Nothing is read from the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    radius: f64,
}

impl Ball {
    /// The ball with this radius.
    ///
    /// # Errors
    /// If the radius is not finite and positive.
    pub fn new(radius: f64) -> Result<Self, Error> {
        Ok(Self { radius: positive("radius", radius)? })
    }

    /// `max(1, norm(y) / r)`, of shape `[1]`.
    fn excess(&self, y: &Vector) -> Tensor<1> {
        (norm(y) / self.radius).clamp_min(1.0)
    }
}

impl Proximal for Ball {
    fn describe(&self) -> String {
        format!("ball(radius {})", self.radius)
    }

    fn apply(&self, y: &Vector) -> Vector {
        scale_by(&self.excess(y).recip(), y)
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        let excess = self.excess(at);
        let inside = excess.clone().lower_equal_elem(1.0);
        // n = excess * r outside, where alone it is used.
        let unit = scale_by(&(excess.clone() * self.radius).recip(), at);
        let radial = inner(&unit, direction).mask_fill(inside, 0.0);
        scale_by(&excess.recip(), &direction.sub(&scale_by(&radial, &unit)))
    }
}

impl Projection for Ball {}
