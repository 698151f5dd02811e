//! The root that adaptive steps divide by.

use std::fmt::{Display, Formatter};

use bilevel_program::{Vector, float};
use burn::backend::DispatchTensor;
use burn::tensor::Tensor;

use crate::vector_ops::{flat, multiply, zip_flat};

/// `r(v)`, entry by entry, of a second moment v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Root {
    /// `1 / sqrt(v + eps)`, which has a derivative at 0.
    Inside(f64),
    /// `1 / (sqrt(v) + eps)`.
    Outside(f64),
}

impl Root {
    /// `r(v)`
    pub(super) fn inverse(self, v: &Vector) -> Vector {
        v.map(|v| {
            float::recip(match self {
                Self::Inside(epsilon) => float::sqrt(float::add_scalar(v, epsilon)),
                Self::Outside(epsilon) => float::add_scalar(float::sqrt(v), epsilon),
            })
        })
    }

    /// `r'(v) / r(v)`, given r: `- r^2 / 2`, or `- r / (2 sqrt(v))` and 0 where v is 0.
    pub(super) fn slope(self, v: &Vector, r: &Vector) -> Vector {
        match self {
            Self::Inside(_) => multiply(r, r).scale(-0.5),
            Self::Outside(_) => zip_flat(v, r, |v, r| {
                let still = v.clone().lower_equal_elem(0.0);
                (r / v.sqrt() * -0.5).mask_fill(still, 0.0)
            }),
        }
    }

    /// In how many entries the divisor is eps alone, of shape `[1]`.
    pub(super) fn at_rest(self, v: &Vector) -> Option<Tensor<1>> {
        let least = match self {
            Self::Inside(epsilon) => epsilon,
            Self::Outside(epsilon) => epsilon * epsilon,
        };
        let count = |leaf: &DispatchTensor| {
            let leaf = flat(leaf.clone());
            leaf.zeros_like().mask_fill(leaf.lower_equal_elem(least), 1.0).sum()
        };
        v.leaves().iter().map(count).reduce(Tensor::add)
    }
}

impl Display for Root {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inside(epsilon) => write!(f, "eps {epsilon:e}"),
            Self::Outside(epsilon) => write!(f, "eps {epsilon:e} outside"),
        }
    }
}
