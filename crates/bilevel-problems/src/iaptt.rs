//! A lower level with many minima.

use std::f64::consts::PI;

use bilevel_core::{BilevelProblem, Error};
use burn::tensor::{Device, Tensor};

use crate::{Instance, Values};

/// `iaptt-numeric`: x in [1, 10], y in [-2, 2].
///
/// ```text
/// F = x + x y,   f = -sin(x y)
/// ```
///
/// f has several minima in y, all with the value -1. Solution: x = 11 pi / 4, y = -2.
///
/// Source: IAPTT-GM, Eq. 10 and Fig. 1, which starts at (1, 2), (5, 1) and (7, -1).
#[derive(Clone, Copy, Debug)]
pub struct IapttNumeric;

impl IapttNumeric {
    /// The solution: x.
    pub const X: f64 = 11.0 * PI / 4.0;
    /// The solution: y.
    pub const Y: f64 = -2.0;
    /// The bounds of x.
    pub const UPPER_BOUNDS: [f64; 2] = [1.0, 10.0];
    /// The bounds of y.
    pub const LOWER_BOUNDS: [f64; 2] = [-2.0, 2.0];
    /// The starts (x, y) of the source.
    pub const STARTS: [(f64, f64); 3] = [(1.0, 2.0), (5.0, 1.0), (7.0, -1.0)];

    /// At the start `x`, `y`.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn at(x: f64, y: f64, device: &Device) -> Result<Instance, Error> {
        Instance::new(Self, &Values::new(&[x], device), &Values::new(&[y], device), ())
    }
}

impl BilevelProblem for IapttNumeric {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        x.val() + x.val() * y.val()
    }

    fn lower_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        -(x.val() * y.val()).sin()
    }
}
