//! Weights of proximal maps.

use bilevel_program::{Layout, Vector};
use burn::tensor::Tensor;

use crate::error::positive;
use crate::{Coefficient, Error};

/// `h = s c`: a coefficient, which may be learned with x, times a number such as a step size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Penalty {
    coefficient: Coefficient,
    scale: f64,
    name: &'static str,
}

impl Penalty {
    pub fn new(name: &'static str, coefficient: impl Into<Coefficient>) -> Result<Self, Error> {
        let coefficient = coefficient.into().constant(name)?.positive(name)?;
        Ok(Self { coefficient, scale: 1.0, name })
    }

    pub fn times(mut self, scale: f64) -> Result<Self, Error> {
        self.scale *= positive("factor of the weight", scale)?;
        Ok(self)
    }

    pub fn describe(&self) -> String {
        let scale = if self.scale == 1.0 { String::new() } else { format!("{} ", self.scale) };
        format!("{scale}{}", self.coefficient)
    }

    pub fn check(&self, upper: &Layout) -> Result<(), Error> {
        self.coefficient.check_in(self.name, upper)
    }

    /// h, of shape `[1]`, for an x and vectors like `like`.
    pub fn value(&self, x: &Vector, like: &Vector) -> Tensor<1> {
        self.coefficient.number((x, 0), like) * self.scale
    }

    /// x where there is none: for fixed weights.
    ///
    /// # Panics
    /// If the weight is learned.
    pub fn without_x<'a>(&self, y: &'a Vector) -> &'a Vector {
        assert!(
            !self.coefficient.is_learned(),
            "the {} {} is learned with x, expected a number: put the map into `Projected`",
            self.name,
            self.describe()
        );
        y
    }

    /// The tangent in x of a map whose derivative in h is `slope`; none if h is fixed.
    pub fn tangent(
        &self,
        x: &Vector,
        dx: &Vector,
        slope: impl FnOnce() -> Vector,
    ) -> Option<Vector> {
        self.coefficient.is_learned().then(|| {
            let slope = slope().scale(self.scale);
            self.coefficient.tangent((x, 0), Some(dx), || &slope, &slope.zeros_like())
        })
    }

    /// The adjoint in x of the same.
    pub fn adjoint(
        &self,
        x: &Vector,
        lambda: &Vector,
        slope: impl FnOnce() -> Vector,
    ) -> Option<Vector> {
        if !self.coefficient.is_learned() {
            return None;
        }
        let slope = slope().scale(self.scale);
        self.coefficient.adjoint((x, 0), || &slope, lambda)
    }
}
