//! One constraint, on the upper or on the lower level.

use bilevel_core::{BilevelProblem, Conditions, Error, Objective};
use burn::tensor::{Device, Tensor, TensorData};

use crate::instance::squared_norm;
use crate::{Instance, Values};

/// `constrained`: x and y in R^3, with the constraint `h = sum(y) - s <= 0`, or `= 0`, on one level.
///
/// ```text
/// F = norm(y - c)^2 / 2 + r norm(x - d)^2 / 2,   f = norm(y - x)^2 / 2
/// ```
///
/// The constraint is active at both solutions. As a constraint of the upper level, it gives y = x and the KKT
/// point `x = (c + r d - m) / (1 + r)` with the multiplier m for which the sum is s. As a constraint of the
/// lower level, it makes y the projection of x onto `sum(y) <= s`; F then determines x separately along and
/// orthogonal to `e = (1, 1, 1)`: `x = (c + r d) / (1 + r)` orthogonal to e, `x = d` along e.
#[derive(Clone, Copy, Debug)]
pub struct Constrained {
    /// The level that has the constraint.
    pub level: Objective,
    /// s
    pub bound: f64,
    /// Whether h must be 0.
    pub equal: bool,
}

/// A solution of [`Constrained`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConstrainedAnswer {
    /// x
    pub x: [f64; Constrained::SIZE],
    /// y
    pub y: [f64; Constrained::SIZE],
    /// The multiplier of the constraint.
    pub multiplier: f64,
}

impl Constrained {
    /// The dimension of x and of y.
    pub const SIZE: usize = 3;
    const C: [f64; 3] = [2.0, -1.0, 1.0];
    const D: [f64; 3] = [1.5, 1.0, 2.0];
    const R: f64 = 0.5;
    const S: f64 = 1.0;

    /// With `h <= 0` on the upper level.
    pub const UPPER: Self = Self { level: Objective::Upper, bound: Self::S, equal: false };
    /// With `h <= 0` on the lower level.
    pub const LOWER: Self = Self { level: Objective::Lower, ..Self::UPPER };

    /// The same with `h = 0`.
    pub fn equal(self) -> Self {
        Self { equal: true, ..self }
    }

    /// At the start `x`, `y`.
    ///
    /// # Errors
    /// If a start is not finite.
    pub fn at(self, x: &[f64; 3], y: &[f64; 3], device: &Device) -> Result<Instance, Error> {
        Instance::new(self, &Values::new(x, device), &Values::new(y, device), ())
    }

    /// `h(y)`, the violation of the constraint.
    pub fn violation(y: &[f64]) -> f64 {
        y.iter().sum::<f64>() - Self::S
    }

    /// The KKT point with the constraint on the upper level.
    pub fn upper_answer() -> ConstrainedAnswer {
        let free: [f64; 3] = std::array::from_fn(|i| Self::C[i] + Self::R * Self::D[i]);
        let multiplier = (free.iter().sum::<f64>() - (1.0 + Self::R) * Self::S) / 3.0;
        let x = free.map(|v| (v - multiplier) / (1.0 + Self::R));
        ConstrainedAnswer { x, y: x, multiplier }
    }

    /// The solution with the constraint on the lower level.
    pub fn lower_answer() -> ConstrainedAnswer {
        let mean = |v: &[f64; 3]| v.iter().sum::<f64>() / 3.0;
        let across: [f64; 3] = std::array::from_fn(|i| {
            (Self::C[i] - mean(&Self::C) + Self::R * (Self::D[i] - mean(&Self::D)))
                / (1.0 + Self::R)
        });
        let multiplier = mean(&Self::D) - Self::S / 3.0;
        ConstrainedAnswer {
            x: across.map(|v| v + mean(&Self::D)),
            y: across.map(|v| v + Self::S / 3.0),
            multiplier,
        }
    }
}

impl BilevelProblem for Constrained {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        let (x, y) = (x.val(), y.val());
        let constant =
            |v: [f64; 3]| Tensor::from_data(TensorData::from(v), (&x.device(), x.dtype()));
        let (c, d) = (constant(Self::C), constant(Self::D));
        (squared_norm(y - c) + squared_norm(x - d) * Self::R) * 0.5
    }

    fn lower_loss(&self, x: &Values, y: &Values, _: &()) -> Tensor<1> {
        squared_norm(y.val() - x.val()) * 0.5
    }

    fn constraints(&self, level: Objective, _: &Values, y: &Values, _: &()) -> Conditions {
        let h = || y.val().sum() - self.bound;
        match (level == self.level, self.equal) {
            (false, _) => Conditions::default(),
            (true, false) => Conditions::at_most_zero(h()),
            (true, true) => Conditions::zero(h()),
        }
    }
}
