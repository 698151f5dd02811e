//! A convex lower level with several solutions, in high dimension.

use bilevel_core::{BilevelProblem, Error};
use burn::tensor::{Device, Tensor};

use crate::instance::squared_norm;
use crate::{Instance, Pair, Values};

/// `ia-gm-convex`: x in [-100, 100]^n, y = (y_1, y_2) in R^n x R^n, n = 50.
///
/// ```text
/// F = norm(x - y_2)^4 + norm(y_1 - e)^4,   f = norm(y_1)^2 / 2 - <x, y_1>
/// ```
///
/// with e the vector of ones. Solution: x = y_1 = y_2 = e. The lower level does not determine `y_2`; a
/// learned start does.
///
/// Source: IAPTT-GM, Eq. 13.
#[derive(Clone, Copy, Debug)]
pub struct IaGmConvex;

impl IaGmConvex {
    /// The dimension n of the source.
    pub const SIZE: usize = 50;
    /// Every entry of the solution, of x and of y.
    pub const ANSWER: f64 = 1.0;
    /// The bounds of every entry of x.
    pub const BOUNDS: [f64; 2] = [-100.0, 100.0];

    /// With all entries of x equal to `x` and all entries of y equal to `y`.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn at(x: f64, y: f64, device: &Device) -> Result<Instance, Error> {
        let (x, y) = ([x; Self::SIZE], [y; Self::SIZE]);
        Instance::new(Self, &Values::new(&x, device), &Pair::new(&y, &y, device), ())
    }
}

impl BilevelProblem for IaGmConvex {
    type Upper = Values;
    type Lower = Pair;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Pair, _: &()) -> Tensor<1> {
        let fourth = |v| squared_norm(v).powi_scalar(2);
        fourth(x.val() - y.second.val()) + fourth(y.first.val() - 1.0)
    }

    fn lower_loss(&self, x: &Values, y: &Pair, _: &()) -> Tensor<1> {
        let first = y.first.val();
        squared_norm(first.clone()) * 0.5 - (x.val() * first).sum()
    }
}
