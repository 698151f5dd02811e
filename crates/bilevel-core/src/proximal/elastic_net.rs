//! The elastic net.

use bilevel_program::{Layout, Vector};

use super::penalty::Penalty;
use super::{Proximal, SoftThreshold};
use crate::lower::sum;
use crate::vector_ops::scale_by;
use crate::{Coefficient, Error};

/// The proximal map of `h sum_i |y_i| + k sum_i y_i^2 / 2`: `P(y) = S_h(y) / (1 + k)`, S the [`SoftThreshold`].
///
/// After [`Gd`](crate::Gd) with the step size s, `ElasticNet::new(a, b)?.times(s)?` gives proximal gradient descent on
/// `f + a sum_i |y_i| + b sum_i y_i^2 / 2`; a and b are numbers, or [`Coefficient`]s that are learned with x. Its
/// derivative keeps the entries with `|y_i| > h`, divided by `1 + k`; in k it is `-S_h(y) / (1 + k)^2`.
///
/// Source: H. Zou and T. Hastie, "Regularization and variable selection via the elastic net", 2005.
#[derive(Clone, Debug, PartialEq)]
pub struct ElasticNet {
    threshold: SoftThreshold,
    shrinkage: Penalty,
}

impl ElasticNet {
    /// With the weights h and k.
    ///
    /// # Errors
    /// If a fixed one is not finite and positive.
    pub fn new(h: impl Into<Coefficient>, k: impl Into<Coefficient>) -> Result<Self, Error> {
        let shrinkage = Penalty::new("weight of the squares", k)?;
        Ok(Self { threshold: SoftThreshold::new(h)?, shrinkage })
    }

    /// With `scale` times these weights: the step size.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn times(self, scale: f64) -> Result<Self, Error> {
        Ok(Self {
            threshold: self.threshold.times(scale)?,
            shrinkage: self.shrinkage.times(scale)?,
        })
    }

    /// `v / (1 + k)`
    fn shrunk(&self, x: &Vector, v: &Vector) -> Vector {
        scale_by(&(self.shrinkage.value(x, v) + 1.0).recip(), v)
    }

    fn in_shrinkage(&self, x: &Vector, at: &Vector) -> Vector {
        self.shrunk(x, &self.apply_at(x, at)).scale(-1.0)
    }
}

impl Proximal for ElasticNet {
    fn describe(&self) -> String {
        let Self { threshold, shrinkage } = self;
        format!("elastic net({}, squares {})", threshold.describe(), shrinkage.describe())
    }

    fn check(&self, upper: &Layout) -> Result<(), Error> {
        self.threshold.check(upper)?;
        self.shrinkage.check(upper)
    }

    fn apply(&self, y: &Vector) -> Vector {
        self.shrunk(self.shrinkage.without_x(y), &self.threshold.apply(y))
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        self.shrunk(self.shrinkage.without_x(at), &self.threshold.derivative(at, direction))
    }

    fn apply_at(&self, x: &Vector, y: &Vector) -> Vector {
        self.shrunk(x, &self.threshold.apply_at(x, y))
    }

    fn derivative_at(&self, x: &Vector, at: &Vector, direction: &Vector) -> Vector {
        self.shrunk(x, &self.threshold.derivative_at(x, at, direction))
    }

    fn tangent_in_x(&self, x: &Vector, at: &Vector, dx: &Vector) -> Option<Vector> {
        let cut = self.threshold.tangent_in_x(x, at, dx).map(|cut| self.shrunk(x, &cut));
        let shrunk = self.shrinkage.tangent(x, dx, || self.in_shrinkage(x, at));
        sum(cut, shrunk)
    }

    fn adjoint_in_x(&self, x: &Vector, at: &Vector, lambda: &Vector) -> Option<Vector> {
        let cut = self.threshold.adjoint_in_x(x, at, &self.shrunk(x, lambda));
        let shrunk = self.shrinkage.adjoint(x, lambda, || self.in_shrinkage(x, at));
        sum(cut, shrunk)
    }
}
