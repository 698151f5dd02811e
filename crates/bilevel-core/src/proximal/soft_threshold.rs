//! Soft thresholding.

use bilevel_program::{Layout, Vector, float};

use super::Proximal;
use crate::error::positive;
use crate::vector_ops::{multiply, zip_flat};
use crate::{Coefficient, Error};

/// Soft thresholding, `P(y)_i = sign(y_i) max(|y_i| - h, 0)`: the proximal map of `h sum_i |y_i|`. It is not a
/// projection: it moves every entry.
///
/// Its derivative keeps the entries with `|y_i| > h` and sets the others to 0; in h it is `-sign(y_i)` at the former.
/// After [`Gd`](crate::Gd) with the step size s, the threshold `h = s mu` gives proximal gradient descent on
/// `f + mu sum_i |y_i|`; where mu is learned with x, by [`SoftThreshold::times`]:
///
/// ```
/// # use bilevel_core::*;
/// # fn main() -> Result<(), Error> {
/// // The lasso with the weight exp(u), u being the variable `penalty` of x.
/// let map = SoftThreshold::new(Coefficient::exp("penalty"))?.times(0.1)?;
/// let proximal = Projected::new(Gd::new(0.1)?, map);
/// # Ok(())
/// # }
/// ```
///
/// Source: I. Daubechies, M. Defrise and C. De Mol, "An iterative thresholding algorithm for linear
/// inverse problems with a sparsity constraint", 2004; Q. Bertrand et al., "Implicit differentiation of Lasso-type
/// models for hyperparameter optimization", 2020, for the derivative in mu.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftThreshold {
    threshold: Coefficient,
    scale: f64,
}

impl SoftThreshold {
    /// With this threshold: a number, or a [`Coefficient`] that is learned with x.
    ///
    /// # Errors
    /// If a fixed one is not finite and positive.
    pub fn new(threshold: impl Into<Coefficient>) -> Result<Self, Error> {
        Ok(Self {
            threshold: threshold.into().constant("threshold")?.positive("threshold")?,
            scale: 1.0,
        })
    }

    /// With `scale` times that threshold: the step size, where the threshold is the weight of a penalty.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn times(mut self, scale: f64) -> Result<Self, Error> {
        self.scale *= positive("factor of the threshold", scale)?;
        Ok(self)
    }

    /// h, if it is fixed.
    fn fixed(&self) -> Option<f64> {
        match self.threshold {
            Coefficient::Fixed(value) => Some(value * self.scale),
            _ => None,
        }
    }

    fn number(&self) -> f64 {
        self.fixed().unwrap_or_else(|| {
            panic!(
                "the {} is learned with x, expected a number: put it into `Projected`",
                self.describe()
            )
        })
    }

    /// `|y| - h`
    fn above(&self, x: &Vector, y: &Vector) -> Vector {
        let scales = y.zeros_like().map(|leaf| float::add_scalar(leaf, self.scale));
        y.map(float::abs).sub(&self.threshold.times((x, 0), &scales))
    }

    /// The derivative of P in the coefficient.
    fn in_threshold(&self, x: &Vector, at: &Vector) -> Vector {
        let signs = at.map(|leaf| float::mul_scalar(float::sign(leaf), -self.scale));
        self.derivative_at(x, at, &signs)
    }
}

impl Proximal for SoftThreshold {
    fn describe(&self) -> String {
        let scale = if self.scale == 1.0 { String::new() } else { format!("{} ", self.scale) };
        format!("soft threshold({scale}{})", self.threshold)
    }

    fn check(&self, upper: &Layout) -> Result<(), Error> {
        self.threshold.check_in("threshold", upper)
    }

    fn apply(&self, y: &Vector) -> Vector {
        // The part outside the box around 0.
        let limit = self.number();
        y.sub(&y.map(|leaf| float::clamp(leaf, -limit, limit)))
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        let limit = self.number();
        zip_flat(at, direction, |y, d| d.mask_fill(y.abs().lower_equal_elem(limit), 0.0))
    }

    fn apply_at(&self, x: &Vector, y: &Vector) -> Vector {
        if self.fixed().is_some() {
            return self.apply(y);
        }
        let above = self.above(x, y).map(|leaf| float::clamp_min(leaf, 0.0));
        let cut = multiply(&y.map(float::sign), &y.map(float::abs).sub(&above));
        y.sub(&cut)
    }

    fn derivative_at(&self, x: &Vector, at: &Vector, direction: &Vector) -> Vector {
        if self.fixed().is_some() {
            return self.derivative(at, direction);
        }
        let above = self.above(x, at);
        zip_flat(&above, direction, |above, d| d.mask_fill(above.lower_equal_elem(0.0), 0.0))
    }

    fn tangent_in_x(&self, x: &Vector, at: &Vector, dx: &Vector) -> Option<Vector> {
        let learned = self.fixed().is_none();
        learned.then(|| {
            let slope = self.in_threshold(x, at);
            self.threshold.tangent((x, 0), Some(dx), || &slope, &at.zeros_like())
        })
    }

    fn adjoint_in_x(&self, x: &Vector, at: &Vector, lambda: &Vector) -> Option<Vector> {
        if self.fixed().is_some() {
            return None;
        }
        let slope = self.in_threshold(x, at);
        self.threshold.adjoint((x, 0), || &slope, lambda)
    }
}
