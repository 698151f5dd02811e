//! Constraints on the upper variable, by Euclidean projection after every step.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use crate::Error;
use crate::error::positive;

/// The Euclidean projection onto a convex set.
pub trait Projection<B: Backend> {
    /// The nearest point of the set.
    fn project(&self, x: Vector<B>) -> Vector<B>;
}

/// The box `min <= x_i <= max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    min: f64,
    max: f64,
}

impl Bounds {
    /// The box with these bounds on every entry; an infinite one is no bound.
    ///
    /// # Errors
    /// If `min > max` or one is NaN.
    pub fn new(min: f64, max: f64) -> Result<Self, Error> {
        if min <= max {
            return Ok(Self { min, max });
        }
        Err(Error::InvalidSetting {
            setting: "bounds",
            found: format!("[{min}, {max}]"),
            expected: "a lower bound that is not above the upper one",
            cure: "swap them",
        })
    }
}

impl<B: Backend> Projection<B> for Bounds {
    fn project(&self, x: Vector<B>) -> Vector<B> {
        x.map(|leaf| B::float_clamp(leaf, self.min.into(), self.max.into()))
    }
}

/// The ball `norm(x) <= radius` around 0, over all variables together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ball {
    radius: f64,
}

impl Ball {
    /// The ball of this radius.
    ///
    /// # Errors
    /// If the radius is not finite and positive.
    pub fn new(radius: f64) -> Result<Self, Error> {
        Ok(Self { radius: positive("radius", radius)? })
    }
}

impl<B: Backend> Projection<B> for Ball {
    fn project(&self, x: Vector<B>) -> Vector<B> {
        let norm = x.norm();
        if norm <= self.radius { x } else { x.scale(self.radius / norm) }
    }
}
