//! Soft thresholding.

use bilevel_program::{Vector, float};

use super::Proximal;
use crate::Error;
use crate::error::positive;
use crate::on_device::zip_flat;

/// Soft thresholding, `P(y)_i = sign(y_i) max(|y_i| - threshold, 0)`: the proximal map of
/// `threshold * sum_i |y_i|`. No projection: it moves every entry.
///
/// Its derivative keeps the entries with `|y_i| > threshold` and takes the others to 0. After
/// [`Gd`](crate::Gd) with the step size s, the threshold `s mu` makes proximal gradient descent on
/// `f + mu sum_i |y_i|`.
///
/// Source: I. Daubechies, M. Defrise and C. De Mol, "An iterative thresholding algorithm for linear
/// inverse problems with a sparsity constraint", 2004.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftThreshold {
    threshold: f64,
}

impl SoftThreshold {
    /// With this threshold.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn new(threshold: f64) -> Result<Self, Error> {
        Ok(Self { threshold: positive("threshold", threshold)? })
    }
}

impl Proximal for SoftThreshold {
    fn describe(&self) -> String {
        format!("soft threshold({})", self.threshold)
    }

    fn apply(&self, y: &Vector) -> Vector {
        // What the box around 0 cuts off.
        let limit = self.threshold;
        y.sub(&y.map(|leaf| float::clamp(leaf, -limit, limit)))
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        zip_flat(at, direction, |y, d| d.mask_fill(y.abs().lower_equal_elem(self.threshold), 0.0))
    }
}
