//! The box.

use bilevel_program::{Vector, float};

use super::{Projection, Proximal};
use crate::Error;
use crate::vector_ops::zip_flat;

/// The projection onto the box `min <= y_i <= max`.
///
/// Its derivative keeps the entries inside the box and sets the others to 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    min: f64,
    max: f64,
}

impl Bounds {
    /// The box with these bounds on every entry; an infinite bound is none.
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

impl Proximal for Bounds {
    fn describe(&self) -> String {
        format!("bounds({}, {})", self.min, self.max)
    }

    fn apply(&self, y: &Vector) -> Vector {
        y.map(|leaf| float::clamp(leaf, self.min, self.max))
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        zip_flat(at, direction, |y, d| {
            let below = d.mask_fill(y.clone().lower_elem(self.min), 0.0);
            below.mask_fill(y.greater_elem(self.max), 0.0)
        })
    }
}

impl Projection for Bounds {}
