//! Settings of a dynamics that may be learned.

use std::sync::Arc;

use bilevel_program::{Layout, Vector};
use burn::backend::{DispatchTensor, TensorMetadata};
use burn::tensor::Tensor;

use super::sum;
use crate::error::{below_one, positive};
use crate::vector_ops::{flat, inner, scale_by, shaped};
use crate::{Error, Schedule};

/// A number by which a dynamics multiplies, such as a step size: fixed, scheduled, learned as a variable of x, or one
/// for each part of y.
///
/// A learned one is a variable u of x of shape `[1]`, found by its path in the upper module; by
/// [`Coefficient::each_step`] of shape `[T]`, with an entry for each step. It stays on the device; its derivative is
/// part of every hypergradient, at the cost of one gradient of the lower objective for each backward step.
#[derive(Clone, Debug, PartialEq)]
pub enum Coefficient {
    /// The same at every step.
    Fixed(
        /// Its value.
        f64,
    ),
    /// Another one at each step.
    Scheduled(
        /// Its values.
        Schedule,
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
    /// A learned one whose variable has an entry for each step; the last holds for all later steps.
    EachStep(
        /// How it is learned.
        Box<Coefficient>,
    ),
    /// One for each part of y: the variables at or below a path in the lower module that no earlier part has.
    Parts(
        /// The paths and the coefficients.
        Vec<(String, Coefficient)>,
    ),
}

/// Where a coefficient is evaluated: the upper variable, and the step.
pub(crate) type Now<'a> = (&'a Vector, usize);

/// A coefficient that is one number.
enum Value {
    Number(f64),
    Learned(Box<Learned>),
}

struct Learned {
    /// The position of the variable in x.
    leaf: usize,
    /// Which of its entries.
    entry: usize,
    value: Tensor<1>,
    /// The derivative of the value in the entry.
    slope: Tensor<1>,
}

impl From<f64> for Coefficient {
    fn from(value: f64) -> Self {
        Self::Fixed(value)
    }
}

impl From<Schedule> for Coefficient {
    fn from(schedule: Schedule) -> Self {
        Self::Scheduled(schedule)
    }
}

impl std::fmt::Display for Coefficient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "{value}"),
            Self::Scheduled(schedule) => write!(f, "{schedule}"),
            Self::Exp(path) => write!(f, "exp({path})"),
            Self::Sigmoid(path) => write!(f, "sigmoid({path})"),
            Self::EachStep(each) => write!(f, "{each} of each step"),
            Self::Parts(parts) => {
                for (at, (path, coefficient)) in parts.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    let path = if path.is_empty() { "the rest" } else { path };
                    write!(f, "{comma}{coefficient} for {path}")?;
                }
                Ok(())
            }
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

    /// With a variable of shape `[T]` and an entry of it for each step: a learned schedule. The last entry holds for
    /// all later steps.
    pub fn each_step(self) -> Self {
        Self::EachStep(Box::new(self))
    }

    /// One for each part of y, such as `[("body", 0.01.into()), ("", Coefficient::exp("rate"))]`: a part has the
    /// variables at or below its path that no earlier part has, and `""` all that are left.
    pub fn parts<P: Into<String>>(parts: impl IntoIterator<Item = (P, Self)>) -> Self {
        Self::Parts(parts.into_iter().map(|(path, each)| (path.into(), each)).collect())
    }

    /// Itself, if its fixed values are finite and positive.
    pub(crate) fn positive(self, setting: &'static str) -> Result<Self, Error> {
        match &self {
            Self::Fixed(value) => drop(positive(setting, *value)?),
            Self::Scheduled(schedule) => drop(schedule.positive(setting)?),
            Self::Exp(_) | Self::Sigmoid(_) => {}
            Self::EachStep(each) => each.check_each_step(setting)?,
            Self::Parts(parts) => {
                for (_, each) in parts {
                    each.clone().positive(setting)?;
                }
            }
        }
        Ok(self)
    }

    /// Itself, if its fixed values are in `[0, 1)`.
    pub(super) fn below_one(self, setting: &'static str) -> Result<Self, Error> {
        match &self {
            Self::Fixed(value) => drop(below_one(setting, *value)?),
            // Schedules increase or decrease.
            Self::Scheduled(schedule) => {
                for t in [0, 1 << 40] {
                    below_one(setting, schedule.at(t))?;
                }
            }
            Self::Exp(_) | Self::Sigmoid(_) => {}
            Self::EachStep(each) => each.check_each_step(setting)?,
            Self::Parts(parts) => {
                for (_, each) in parts {
                    each.clone().below_one(setting)?;
                }
            }
        }
        Ok(self)
    }

    /// Itself, if it is one number, fixed or learned, that does not change from step to step.
    pub(crate) fn constant(self, setting: &'static str) -> Result<Self, Error> {
        if matches!(self, Self::Fixed(_) | Self::Exp(_) | Self::Sigmoid(_)) {
            return Ok(self);
        }
        Err(Error::InvalidSetting {
            setting,
            found: self.to_string(),
            expected: "one number for all steps and variables",
            cure: "a proximal map does not know the step: give it a number, or learn it with x",
        })
    }

    /// A coefficient with an entry for each step is learned by itself.
    fn check_each_step(&self, setting: &'static str) -> Result<(), Error> {
        if matches!(self, Self::Exp(_) | Self::Sigmoid(_)) {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting,
            found: format!("{self} of each step"),
            expected: "`exp` or `sigmoid` of a variable of x",
            cure: "a `Schedule` holds numbers for the steps that are not learned; `parts` goes around it",
        })
    }

    /// Whether x has its variables, and each variable of y has a coefficient.
    pub(crate) fn check(
        &self,
        setting: &'static str,
        upper: &Layout,
        lower: &Layout,
    ) -> Result<(), Error> {
        let Self::Parts(parts) = self else { return self.check_in(setting, upper) };
        let of_y = |part: &str| lower.leaves().iter().any(|leaf| under(&leaf.path, part));
        if let Some((part, _)) = parts.iter().find(|(part, _)| !of_y(part)) {
            return Err(Error::InvalidSetting {
                setting,
                found: format!("one for `{part}`, where y has no variable"),
                expected: "paths of y",
                cure: "name a path of the lower module",
            });
        }
        let has = |path: &str| parts.iter().any(|(part, _)| under(path, part));
        if let Some(leaf) = lower.leaves().iter().find(|leaf| !has(&leaf.path)) {
            return Err(Error::InvalidSetting {
                setting,
                found: format!("none for the variable `{}` of y", leaf.path),
                expected: "one for each variable of y",
                cure: "end with the part \"\", which has all that are left",
            });
        }
        parts.iter().try_for_each(|(_, each)| each.check(setting, upper, lower))
    }

    /// Whether x has its variable.
    pub(crate) fn check_in(&self, setting: &'static str, upper: &Layout) -> Result<(), Error> {
        let Some((path, each_step)) = self.path() else { return Ok(()) };
        let leaves = upper.leaves();
        let found = match leaves.iter().find(|leaf| leaf.path == path) {
            Some(leaf) if leaf.shape.as_slice() == [1] => return Ok(()),
            Some(leaf) if each_step && leaf.shape.num_dims() == 1 && leaf.shape[0] > 0 => {
                return Ok(());
            }
            Some(leaf) => format!("`{path}` of shape {:?}", leaf.shape.as_slice()),
            None => {
                let paths: Vec<_> = leaves.iter().map(|leaf| format!("`{}`", leaf.path)).collect();
                paths.join(", ")
            }
        };
        let shape = if each_step { "[T], with an entry a step" } else { "[1]" };
        Err(Error::UpperVariable {
            what: setting,
            found,
            expected: format!("a variable `{path}` of shape {shape}"),
            cure: "name a variable that x has, or give the upper module this parameter",
        })
    }

    /// Of its variable, and whether that has an entry per step.
    fn path(&self) -> Option<(&str, bool)> {
        match self {
            Self::Fixed(_) | Self::Scheduled(_) | Self::Parts(_) => None,
            Self::Exp(path) | Self::Sigmoid(path) => Some((path, false)),
            Self::EachStep(each) => each.path().map(|(path, _)| (path, true)),
        }
    }

    /// c as a tensor of shape `[1]` on the device of `like`; not for [`Coefficient::Parts`].
    pub(crate) fn number(&self, now: Now<'_>, like: &Vector) -> Tensor<1> {
        match (self.value(now), like.leaves().first()) {
            (Value::Learned(learned), _) => learned.value,
            (Value::Number(value), Some(leaf)) => {
                Tensor::full([1], value, (&like.device(), leaf.dtype()))
            }
            (Value::Number(value), None) => Tensor::full([1], value, &like.device()),
        }
    }

    /// `c v`, for v in the variables of y.
    pub(crate) fn times(&self, now: Now<'_>, v: &Vector) -> Vector {
        if let Self::Parts(parts) = self {
            return by_part(parts, v, |each, part| each.times(now, &v.only(part)));
        }
        match self.value(now) {
            Value::Learned(learned) => scale_by(&learned.value, v),
            Value::Number(value) => v.scale(value),
        }
    }

    /// The tangent of `c v`: `c dv + (dc) v`; v is requested only where c moves.
    pub(crate) fn tangent<'v>(
        &self,
        now: Now<'_>,
        dx: Option<&Vector>,
        v: impl FnOnce() -> &'v Vector,
        dv: &Vector,
    ) -> Vector {
        match dx {
            Some(dx) if self.is_learned() => self.tangent_of(now, dx, v(), dv),
            _ => self.times(now, dv),
        }
    }

    fn tangent_of(&self, now: Now<'_>, dx: &Vector, v: &Vector, dv: &Vector) -> Vector {
        if let Self::Parts(parts) = self {
            return by_part(parts, dv, |each, part| {
                each.tangent_of(now, dx, &v.only(part), &dv.only(part))
            });
        }
        let still = self.times(now, dv);
        let Value::Learned(learned) = self.value(now) else { return still };
        let du = entry(&dx.leaves()[learned.leaf], learned.entry);
        still.add(&scale_by(&(learned.slope * du), v))
    }

    /// The adjoint of `c v` in x, `(dc/dx)' <v, lambda>`; none if c is not learned, and then v is not requested.
    pub(crate) fn adjoint<'v>(
        &self,
        now: Now<'_>,
        v: impl FnOnce() -> &'v Vector,
        lambda: &Vector,
    ) -> Option<Vector> {
        self.is_learned().then(|| self.adjoint_of(now, v(), lambda)).flatten()
    }

    fn adjoint_of(&self, now: Now<'_>, v: &Vector, lambda: &Vector) -> Option<Vector> {
        if let Self::Parts(parts) = self {
            let each = parts_of(parts, v.layout()).into_iter().map(|(each, positions)| {
                let part = v.layout().part(&positions);
                each.adjoint_of(now, &v.only(&part), &lambda.only(&part))
            });
            return each.fold(None, sum);
        }
        let Value::Learned(learned) = self.value(now) else { return None };
        let Learned { leaf: at, entry, slope, .. } = *learned;
        let found = slope.clone() * inner(v, lambda).cast(slope.dtype());
        let mut here = 0..;
        let zeros = now.0.zeros_like();
        Some(zeros.map(|leaf| {
            if here.next() != Some(at) {
                return leaf;
            }
            let shape = leaf.shape();
            shaped(flat(leaf).slice_assign(entry..entry + 1, found.clone()), shape)
        }))
    }

    /// Whether a part of x determines it.
    pub(crate) fn is_learned(&self) -> bool {
        match self {
            Self::Fixed(_) | Self::Scheduled(_) => false,
            Self::Exp(_) | Self::Sigmoid(_) | Self::EachStep(_) => true,
            Self::Parts(parts) => parts.iter().any(|(_, each)| each.is_learned()),
        }
    }

    fn value(&self, (x, t): Now<'_>) -> Value {
        let (path, at) = match self {
            Self::Fixed(value) => return Value::Number(*value),
            Self::Scheduled(schedule) => return Value::Number(schedule.at(t)),
            Self::EachStep(_) => (self.path(), t),
            _ => (self.path(), 0),
        };
        let (path, _) = path.expect("parts are looked at one by one");
        let leaf = x.layout().leaves().iter().position(|leaf| leaf.path == path);
        let leaf = leaf.unwrap_or_else(|| panic!("x has no variable `{path}`: call `check` first"));
        let at = at.min(x.leaves()[leaf].shape().num_elements() - 1);
        let (value, slope) = self.of(entry(&x.leaves()[leaf], at));
        Value::Learned(Box::new(Learned { leaf, entry: at, value, slope }))
    }

    /// The value and its derivative, as functions of the variable.
    fn of(&self, u: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        match self {
            Self::EachStep(each) => each.of(u),
            Self::Sigmoid(_) => {
                // Not `activation::sigmoid`, which rounds to f32 on ndarray.
                let value = (u.neg().exp() + 1.0).recip();
                (value.clone(), value.clone() * (-value + 1.0))
            }
            _ => {
                let value = u.exp();
                (value.clone(), value)
            }
        }
    }
}

/// An entry of a variable, of shape `[1]`.
fn entry(leaf: &DispatchTensor, at: usize) -> Tensor<1> {
    flat(leaf.clone()).slice(at..at + 1)
}

/// Whether a variable is at or below a path.
fn under(path: &str, part: &str) -> bool {
    let below = || path.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'));
    part.is_empty() || path == part || below()
}

/// The coefficients and the positions of the variables that each has.
fn parts_of<'c>(
    parts: &'c [(String, Coefficient)],
    layout: &Layout,
) -> Vec<(&'c Coefficient, Vec<usize>)> {
    let first = |path: &str| parts.iter().position(|(part, _)| under(path, part));
    let of = |k: usize| {
        let leaves = layout.leaves().iter().enumerate();
        leaves.filter(|(_, leaf)| first(&leaf.path) == Some(k)).map(|(at, _)| at).collect()
    };
    let parts = parts.iter().enumerate().map(|(k, (_, each))| (each, of(k)));
    parts.filter(|(_, positions): &(_, Vec<usize>)| !positions.is_empty()).collect()
}

/// A vector like `like`, computed part by part.
fn by_part(
    parts: &[(String, Coefficient)],
    like: &Vector,
    mut f: impl FnMut(&Coefficient, &Arc<Layout>) -> Vector,
) -> Vector {
    let mut leaves = like.leaves().to_vec();
    for (each, positions) in parts_of(parts, like.layout()) {
        let found = f(each, &like.layout().part(&positions));
        positions.iter().zip(found.leaves()).for_each(|(&at, leaf)| leaves[at] = leaf.clone());
    }
    let mut leaves = leaves.into_iter();
    like.map(|leaf| leaves.next().unwrap_or(leaf))
}
