//! Sets whose size is learned.

use bilevel_program::{Layout, Vector};
use burn::tensor::Tensor;

use super::penalty::Penalty;
use super::{Projection, Proximal};
use crate::vector_ops::scale_by;
use crate::{Coefficient, Error};

/// The projection onto `r C`, where C is the set of another projection Q, scaled about 0 by r, which may be learned
/// with x: `P(y) = r Q(y / r)`.
///
/// ```text
/// P_y = Q'(y / r),   P_r = Q(y / r) - Q'(y / r) y / r
/// ```
///
/// A ball of a learned radius is `Scaled::new(Ball::new(1.0)?, Coefficient::exp("radius"))`; a box `[-r,
/// r]` is that of [`Bounds`](crate::Bounds) -1 and 1, a simplex of the sum r that of [`Simplex`](crate::Simplex) with
/// the sum 1. For use in [`Projected`](crate::Projected): x is not constrained to a set that depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled<Q> {
    set: Q,
    size: Penalty,
}

impl<Q: Projection> Scaled<Q> {
    /// The set of `set`, scaled by `size`: a number, or a [`Coefficient`] that is learned.
    ///
    /// # Errors
    /// If a fixed size is not finite and positive.
    pub fn new(set: Q, size: impl Into<Coefficient>) -> Result<Self, Error> {
        Ok(Self { set, size: Penalty::new("size of the set", size)? })
    }

    /// r, and `y / r`.
    fn at(&self, x: &Vector, y: &Vector) -> (Tensor<1>, Vector) {
        let r = self.size.value(x, y);
        let unit = scale_by(&r.clone().recip(), y);
        (r, unit)
    }

    fn in_size(&self, x: &Vector, y: &Vector) -> Vector {
        let (_, unit) = self.at(x, y);
        self.set.apply(&unit).sub(&self.set.derivative(&unit, &unit))
    }
}

impl<Q: Projection> Proximal for Scaled<Q> {
    fn describe(&self) -> String {
        format!("{} times {}", self.size.describe(), self.set.describe())
    }

    fn check(&self, upper: &Layout) -> Result<(), Error> {
        self.size.check(upper)
    }

    fn apply(&self, y: &Vector) -> Vector {
        self.apply_at(self.size.without_x(y), y)
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        self.derivative_at(self.size.without_x(at), at, direction)
    }

    fn apply_at(&self, x: &Vector, y: &Vector) -> Vector {
        let (r, unit) = self.at(x, y);
        scale_by(&r, &self.set.apply(&unit))
    }

    fn derivative_at(&self, x: &Vector, at: &Vector, direction: &Vector) -> Vector {
        self.set.derivative(&self.at(x, at).1, direction)
    }

    fn tangent_in_x(&self, x: &Vector, at: &Vector, dx: &Vector) -> Option<Vector> {
        self.size.tangent(x, dx, || self.in_size(x, at))
    }

    fn adjoint_in_x(&self, x: &Vector, at: &Vector, lambda: &Vector) -> Option<Vector> {
        self.size.adjoint(x, lambda, || self.in_size(x, at))
    }
}
