//! The group lasso.

use bilevel_program::{Layout, Vector};
use burn::backend::{DispatchTensor, TensorMetadata};
use burn::tensor::{Shape, Tensor};

use super::Proximal;
use super::penalty::Penalty;
use crate::vector_ops::{flat, shaped};
use crate::{Coefficient, Error};

/// The proximal map of `h sum_g norm(y_g)`, over groups g of entries: `P(y)_g = max(1 - h / norm(y_g), 0) y_g`. It sets
/// whole groups to 0.
///
/// A group is a variable, or a row of one: the entries with the same index on the first axis, such as the weights of
/// one input of a [`Linear`](burn::nn::Linear). With `n = norm(y_g) > h` the derivative is
/// `d - (h / n) (d - <y_g, d> y_g / n^2)`, and `-y_g / n` in h; it is 0 for other groups.
///
/// After [`Gd`](crate::Gd) with the step size s, `GroupLasso::rows(a)?.times(s)?` gives proximal gradient descent on
/// `f + a sum_g norm(y_g)`; a is a number, or a [`Coefficient`] that is learned with x.
///
/// Source: M. Yuan and Y. Lin, "Model selection and estimation in regression with grouped variables", 2006.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupLasso {
    weight: Penalty,
    rows: bool,
}

impl GroupLasso {
    /// With a group for each row of each variable, and the weight h; each entry of a vector is its own group.
    ///
    /// # Errors
    /// If a fixed h is not finite and positive.
    pub fn rows(h: impl Into<Coefficient>) -> Result<Self, Error> {
        Ok(Self { weight: Penalty::new("weight of the groups", h)?, rows: true })
    }

    /// With a group for each variable.
    ///
    /// # Errors
    /// If a fixed h is not finite and positive.
    pub fn variables(h: impl Into<Coefficient>) -> Result<Self, Error> {
        Ok(Self { rows: false, ..Self::rows(h)? })
    }

    /// With `scale` times that weight: the step size.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn times(self, scale: f64) -> Result<Self, Error> {
        Ok(Self { weight: self.weight.times(scale)?, ..self })
    }

    /// A variable as groups of entries, `[groups, entries]`.
    fn groups(&self, leaf: DispatchTensor) -> Tensor<2> {
        let entries = leaf.shape().num_elements();
        let rows =
            if self.rows { leaf.shape().as_slice().first().copied().unwrap_or(1) } else { 1 };
        flat(leaf).reshape([rows, entries.checked_div(rows).unwrap_or(0)])
    }

    /// Applies `f` to the groups of y, their counterparts in `other`, and h, for each variable.
    fn by_groups(
        &self,
        x: &Vector,
        y: &Vector,
        other: &Vector,
        f: impl Fn(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>,
    ) -> Vector {
        let h = self.weight.value(x, y);
        y.zip(other, |y, other| {
            let shape: Shape = y.shape();
            let h = h.clone().cast(y.dtype()).reshape([1, 1]);
            shaped(f(self.groups(y), self.groups(other), h), shape)
        })
    }

    fn in_weight(&self, x: &Vector, at: &Vector) -> Vector {
        self.by_groups(x, at, at, |y, _, h| {
            let n = norms(&y);
            let still = n.clone().lower_equal(h).expand(y.dims());
            (y / n).neg().mask_fill(still, 0.0)
        })
    }
}

/// The norm of each group, `[groups, 1]`; the smallest positive number for 0, where its value does not matter.
fn norms(y: &Tensor<2>) -> Tensor<2> {
    y.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(f32::MIN_POSITIVE)
}

impl Proximal for GroupLasso {
    fn describe(&self) -> String {
        let groups = if self.rows { "rows" } else { "variables" };
        format!("group lasso({groups}, {})", self.weight.describe())
    }

    fn check(&self, upper: &Layout) -> Result<(), Error> {
        self.weight.check(upper)
    }

    fn apply(&self, y: &Vector) -> Vector {
        self.apply_at(self.weight.without_x(y), y)
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        self.derivative_at(self.weight.without_x(at), at, direction)
    }

    fn apply_at(&self, x: &Vector, y: &Vector) -> Vector {
        self.by_groups(x, y, y, |y, _, h| {
            let kept = (h / norms(&y)).neg().add_scalar(1.0).clamp_min(0.0);
            y * kept
        })
    }

    fn derivative_at(&self, x: &Vector, at: &Vector, direction: &Vector) -> Vector {
        self.by_groups(x, at, direction, |y, d, h| {
            let n = norms(&y);
            let unit = y / n.clone();
            let along = (unit.clone() * d.clone()).sum_dim(1);
            let still = n.clone().lower_equal(h.clone()).expand(d.dims());
            let turned = (d.clone() - unit * along) * (h / n);
            (d - turned).mask_fill(still, 0.0)
        })
    }

    fn tangent_in_x(&self, x: &Vector, at: &Vector, dx: &Vector) -> Option<Vector> {
        self.weight.tangent(x, dx, || self.in_weight(x, at))
    }

    fn adjoint_in_x(&self, x: &Vector, at: &Vector, lambda: &Vector) -> Option<Vector> {
        self.weight.adjoint(x, lambda, || self.in_weight(x, at))
    }
}
