//! A non-convex lower level in one dimension.

use bilevel_core::{BilevelProblem, Error};
use burn::tensor::{Device, Tensor};

use crate::{Instance, Values};

/// `pbgd-toy`: x in [0, 3], y in R.
///
/// ```text
/// F = cos(4 y + 2) / (1 + exp(2 - 4 x)) + ln((4 x - 2)^2 + 1) / 2
/// f = (y + x)^2 + x sin^2(x + y)
/// ```
///
/// The lower level is not convex, but `y = -x` is its only stationary point: it satisfies the
/// Polyak-Lojasiewicz inequality there. So the problem is to minimise `F(x, -x)`.
///
/// Source: V-PBGD, Section 5.
#[derive(Clone, Copy, Debug)]
pub struct PbgdToy;

impl PbgdToy {
    /// The bounds of x.
    pub const BOUNDS: [f64; 2] = [0.0, 3.0];

    /// At the start `x`, `y`.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn at(x: f64, y: f64, device: &Device) -> Result<Instance, Error> {
        Instance::new(Self, &Values::new(&[x], device), &Values::new(&[y], device), ())
    }

    /// With many starts in one batch: the losses are sums, and start i is entry i of x and of y.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn starts(x: &[f64], y: &[f64], device: &Device) -> Result<Instance, Error> {
        Instance::new(Self, &Values::new(x, device), &Values::new(y, device), ())
    }

    /// The local minima of `F(x, -x)` within the bounds, in increasing order.
    pub fn minima() -> Vec<f64> {
        const CELLS: u32 = 3000;
        let [low, high] = Self::BOUNDS;
        let at = |cell: u32| low + (high - low) * f64::from(cell) / f64::from(CELLS);
        let mut minima = Vec::new();
        if Self::slope(low) > 0.0 {
            minima.push(low);
        }
        for cell in 0..CELLS {
            // The slope changes from negative to positive: bisect the cell.
            let (mut left, mut right) = (at(cell), at(cell + 1));
            if Self::slope(left) > 0.0 || Self::slope(right) <= 0.0 {
                continue;
            }
            for _ in 0..60 {
                let middle = f64::midpoint(left, right);
                if Self::slope(middle) > 0.0 { right = middle } else { left = middle }
            }
            minima.push(f64::midpoint(left, right));
        }
        if Self::slope(high) < 0.0 {
            minima.push(high);
        }
        minima
    }

    /// `d/dx F(x, -x)`, which is zero at a solution inside the bounds.
    pub fn slope(x: f64) -> f64 {
        let gate = 1.0 / (1.0 + (2.0 - 4.0 * x).exp());
        let angle = 2.0 - 4.0 * x;
        let far = 4.0 * x - 2.0;
        4.0 * angle.sin() * gate
            + angle.cos() * 4.0 * gate * (1.0 - gate)
            + 4.0 * far / (far * far + 1.0)
    }
}

impl BilevelProblem for PbgdToy {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        let gate = (x.val() * -4.0 + 2.0).exp() + 1.0;
        let far = (x.val() * 4.0 - 2.0).powi_scalar(2) + 1.0;
        ((y.val() * 4.0 + 2.0).cos() / gate + far.log() * 0.5).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        let sum = x.val() + y.val();
        (sum.clone().powi_scalar(2) + x.val() * sum.sin().powi_scalar(2)).sum()
    }
}
