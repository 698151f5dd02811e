//! Settings of a dynamics that may be learned.

use bilevel_program::{Layout, Vector};
use burn::tensor::Tensor;

use crate::Error;
use crate::error::{below_one, positive};
use crate::vector_ops::{flat, inner, scale_by, shaped};

/// A number that a dynamics multiplies with, as a step size: fixed, or a function of one variable of x.
///
/// A learned one stands in x as a variable u of shape `[1]`, found by its path in the upper module. It
/// stays on the device; its derivative is part of every hypergradient, at the cost of one gradient of the
/// lower objective for each backward step.
#[derive(Clone, Debug, PartialEq)]
pub enum Coefficient {
    /// The same all the time.
    Fixed(
        /// Its value.
        f64,
    ),
    /// `exp(u)`, which is positive: for step sizes.
    Exp(
        /// The path of u in x.
        String,
    ),
    /// `1 / (1 + exp(-u))`, which lies in (0, 1): for momentum.
    Sigmoid(
        /// The path of u in x.
        String,
    ),
}

impl From<f64> for Coefficient {
    fn from(value: f64) -> Self {
        Self::Fixed(value)
    }
}

impl std::fmt::Display for Coefficient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "{value}"),
            Self::Exp(path) => write!(f, "exp({path})"),
            Self::Sigmoid(path) => write!(f, "sigmoid({path})"),
        }
    }
}

impl Coefficient {
    /// `exp(u)` with the variable u of x at `path`.
    pub fn exp(path: impl Into<String>) -> Self {
        Self::Exp(path.into())
    }

    /// `1 / (1 + exp(-u))` with the variable u of x at `path`.
    pub fn sigmoid(path: impl Into<String>) -> Self {
        Self::Sigmoid(path.into())
    }

    /// Itself if it is learned, or finite and positive.
    pub(crate) fn positive(self, setting: &'static str) -> Result<Self, Error> {
        if let Self::Fixed(value) = self {
            positive(setting, value)?;
        }
        Ok(self)
    }

    /// Itself if it is learned, or in `[0, 1)`.
    pub(super) fn below_one(self, setting: &'static str) -> Result<Self, Error> {
        if let Self::Fixed(value) = self {
            below_one(setting, value)?;
        }
        Ok(self)
    }

    /// Whether x has its variable.
    pub(crate) fn check(&self, setting: &'static str, upper: &Layout) -> Result<(), Error> {
        let Some(path) = self.path() else { return Ok(()) };
        let leaves = upper.leaves();
        let found = match leaves.iter().find(|leaf| leaf.path == path) {
            Some(leaf) if leaf.shape.as_slice() == [1] => return Ok(()),
            Some(leaf) => format!("`{path}` of shape {:?}", leaf.shape.as_slice()),
            None => {
                let paths: Vec<_> = leaves.iter().map(|leaf| format!("`{}`", leaf.path)).collect();
                paths.join(", ")
            }
        };
        Err(Error::UpperVariable {
            what: setting,
            found,
            expected: format!("a variable `{path}` of shape [1]"),
            cure: "name a variable that x has, or give the upper module this parameter",
        })
    }

    /// `c v`.
    pub(crate) fn times(&self, x: &Vector, v: &Vector) -> Vector {
        match self.parts(x) {
            Ok((_, value, _)) => scale_by(&value, v),
            Err(value) => v.scale(value),
        }
    }

    /// The tangent of `c v`: `c dv + (dc) v`, with v asked for only where c moves.
    pub(crate) fn tangent<'v>(
        &self,
        x: &Vector,
        dx: Option<&Vector>,
        v: impl FnOnce() -> &'v Vector,
        dv: &Vector,
    ) -> Vector {
        let still = self.times(x, dv);
        let (Some(dx), Ok((at, _, slope))) = (dx, self.parts(x)) else { return still };
        let du = flat(dx.leaves()[at].clone());
        still.add(&scale_by(&(slope * du), v()))
    }

    /// The adjoint of `c v` in x, `(dc/dx)' <v, lambda>`; none if c is fixed, and then v is not asked for.
    pub(crate) fn adjoint<'v>(
        &self,
        x: &Vector,
        v: impl FnOnce() -> &'v Vector,
        lambda: &Vector,
    ) -> Option<Vector> {
        let (at, _, slope) = self.parts(x).ok()?;
        let found = slope.clone() * inner(v(), lambda).cast(slope.dtype());
        let mut here = 0..;
        let zeros = x.zeros_like();
        Some(zeros.map(|leaf| {
            let is_it = here.next() == Some(at);
            if is_it { shaped(found.clone(), [1].into()) } else { leaf }
        }))
    }

    fn path(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::Exp(path) | Self::Sigmoid(path) => Some(path),
        }
    }

    /// The position of the variable, the value and its slope; or the value, if it is fixed.
    fn parts(&self, x: &Vector) -> Result<(usize, Tensor<1>, Tensor<1>), f64> {
        let find = |path: &str| {
            let at = x.layout().leaves().iter().position(|leaf| leaf.path == path);
            let at = at.unwrap_or_else(|| panic!("x has no variable `{path}`: call `check` first"));
            (at, flat(x.leaves()[at].clone()))
        };
        match self {
            Self::Fixed(value) => Err(*value),
            Self::Exp(path) => {
                let (at, u) = find(path);
                let value = u.exp();
                Ok((at, value.clone(), value))
            }
            Self::Sigmoid(path) => {
                let (at, u) = find(path);
                // Not `activation::sigmoid`: on ndarray that rounds to f32.
                let value = (u.neg().exp() + 1.0).recip();
                Ok((at, value.clone(), value.clone() * (-value + 1.0)))
            }
        }
    }
}
