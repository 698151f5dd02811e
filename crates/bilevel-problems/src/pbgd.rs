//! A non-convex lower level in one dimension.

use std::marker::PhantomData;

use bilevel_core::{BilevelProblem, Error};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::{Instance, Values};

/// `pbgd-toy`: x in [0, 3], y in R.
///
/// ```text
/// F = cos(4 y + 2) / (1 + exp(2 - 4 x)) + ln((4 x - 2)^2 + 1) / 2
/// f = (y + x)^2 + x sin^2(x + y)
/// ```
///
/// The lower level is not convex, but `y = -x` is its only stationary point: there it satisfies the
/// Polyak-Lojasiewicz inequality. So the problem is to minimise `F(x, -x)`.
///
/// Source: V-PBGD, Section 5.
#[derive(Clone, Copy, Debug)]
pub struct PbgdToy;

impl PbgdToy {
    /// The bounds of x.
    pub const BOUNDS: [f64; 2] = [0.0, 3.0];

    /// From `x` and `y`.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn at<B: Backend>(x: f64, y: f64, device: &B::Device) -> Result<Instance<B>, Error> {
        Instance::new(Self, &Values::new(&[x], device), &Values::new(&[y], device), PhantomData)
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

impl<B: Backend> BilevelProblem<B> for PbgdToy {
    type Upper = Values<B>;
    type Lower = Values<B>;
    type Batch = PhantomData<B>;

    fn upper_loss(&self, x: &Values<B>, y: &Values<B>, _: &PhantomData<B>) -> Tensor<B, 1> {
        let gate = (x.val() * -4.0 + 2.0).exp() + 1.0;
        let far = (x.val() * 4.0 - 2.0).powi_scalar(2) + 1.0;
        (y.val() * 4.0 + 2.0).cos() / gate + far.log() * 0.5
    }

    fn lower_loss(&self, x: &Values<B>, y: &Values<B>, _: &PhantomData<B>) -> Tensor<B, 1> {
        let sum = x.val() + y.val();
        sum.clone().powi_scalar(2) + x.val() * sum.sin().powi_scalar(2)
    }
}
