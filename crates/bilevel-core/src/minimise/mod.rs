//! Minimising a function to a tolerance: the lower loss before an implicit formula, the augmented Lagrangian of a lower
//! level with constraints, and `F(x, y*(x))` itself.
//!
//! | type | step | for |
//! |---|---|---|
//! | [`Newton`] | a Newton step in a trust region, by products | twice differentiable functions |
//! | [`Lbfgs`] | quasi-Newton with a few pairs of vectors | many variables |
//! | [`Bfgs`] | quasi-Newton with a matrix | few variables; kinks too |
//! | [`Armijo`] | gradient descent with backtracking | the baseline; sets too |
//! | [`Fista`] | accelerated gradient descent with backtracking | many ill-conditioned variables; sets too |
//!
//! None has a step size to be tuned, and each says where it ended, at what norm of the gradient and why ([`Minimum`]). The
//! last two keep y in a set that has a [`Projection`](crate::Projection).

// What all minimisers share: the constructor, and the trait by way of `run`, which is the rule. `set` is the field of those
// that can keep y in a set.
macro_rules! minimiser {
    ($type:ident, $name:literal $(, $set:ident)?) => {
        impl $type {
            /// At most `steps` steps, until `norm(f_y) <= tolerance`.
            ///
            /// # Errors
            /// If `steps` is 0 or `tolerance` not finite and positive.
            pub fn new(steps: usize, tolerance: f64) -> Result<Self, $crate::Error> {
                Ok(Self { until: Until::new(steps, tolerance)? $(, $set: Set::default())? })
            }

            $(
                /// With y kept in a set: the norm that is held against the tolerance is that of `y - P(y - f_y)`, P the
                /// projection. A start outside is projected.
                pub fn onto(mut self, projection: impl $crate::Projection + 'static) -> Self {
                    self.$set = Set::new(projection);
                    self
                }
            )?
        }

        impl $crate::minimise::Minimiser for $type {
            fn name(&self) -> &'static str {
                $name
            }

            fn describe(&self) -> String {
                let described = format!("{}({})", $name, self.until);
                $(let described = self.$set.describe(described);)?
                described
            }

            fn tolerance(&self) -> f64 {
                self.until.tolerance
            }

            fn minimise(
                &self,
                f: &dyn $crate::minimise::TwiceDifferentiable,
                start: &Vector,
                tolerance: f64,
            ) -> Minimum {
                self.run(f, start, Until { tolerance, ..self.until })
            }
        }
    };
}

mod armijo;
mod bfgs;
mod fista;
mod lbfgs;
mod line_search;
mod lower_loss;
mod newton;
mod set;

pub use armijo::Armijo;
pub use bfgs::Bfgs;
pub use fista::Fista;
pub use lbfgs::Lbfgs;
pub use lower_loss::LowerLoss;
pub use newton::Newton;

use std::fmt::{Debug, Display, Formatter};

use auto_impl::auto_impl;
use bilevel_program::Vector;

use crate::Error;
use crate::error::{at_least_one, positive};
use crate::linear::epsilon;
use set::Set;

/// A function of a vector with a gradient. Where it is not defined, its value is infinite or NaN.
pub trait Differentiable {
    /// The value.
    fn value(&self, at: &Vector) -> f64;

    /// The value and the gradient.
    fn gradient(&self, at: &Vector) -> (f64, Vector);
}

/// The products of a Hessian at one point.
pub type Product<'a> = Box<dyn Fn(&Vector) -> Vector + 'a>;

/// A function with a Hessian, known by its products.
pub trait TwiceDifferentiable: Differentiable {
    /// The Hessian at a point.
    fn hessian<'a>(&'a self, at: &Vector) -> Product<'a>;
}

/// Why a minimiser stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The norm of the gradient is within the tolerance.
    Converged,
    /// The limit of steps was reached first.
    StepLimit,
    /// No step along the last direction has a lower value: there is a kink or a jump, or what is left is rounding.
    NoDescent,
    /// The function, or its gradient, is not finite at the start.
    NotFinite,
}

impl Display for Stop {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Converged => "converged",
            Self::StepLimit => "stopped at its limit of steps: allow more, or loosen the tolerance",
            Self::NoDescent => {
                "found no lower value along its direction: the function has a kink or a jump there, or the tolerance \
                 is below what its rounding allows"
            }
            Self::NotFinite => "started where the function or its gradient is not finite: start elsewhere",
        })
    }
}

/// Where a minimiser ended.
#[derive(Clone, Debug)]
pub struct Minimum {
    /// The point.
    pub at: Vector,
    /// The value there.
    pub value: f64,
    /// The norm of the gradient there; where y is kept in a set, of `y - P(y - f_y)`.
    pub gradient_norm: f64,
    /// The steps made.
    pub steps: usize,
    /// Why it stopped.
    pub stop: Stop,
}

/// Minimises a function from a start to a tolerance.
#[auto_impl(Box, Arc)]
pub trait Minimiser: Debug + Send + Sync {
    /// The name, as `newton`.
    fn name(&self) -> &'static str;

    /// The name with the settings.
    fn describe(&self) -> String;

    /// The norm of the gradient to end at.
    fn tolerance(&self) -> f64;

    /// The end of a descent from `start`, at the tolerance `tolerance` in place of its own. Its value is at most that of
    /// the start, up to rounding.
    fn minimise(&self, f: &dyn TwiceDifferentiable, start: &Vector, tolerance: f64) -> Minimum;
}

/// A limit of steps and a norm of the gradient, whichever is met first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Until {
    steps: usize,
    tolerance: f64,
}

impl Until {
    fn new(steps: usize, tolerance: f64) -> Result<Self, Error> {
        let steps = at_least_one("steps of a minimiser", steps)?;
        Ok(Self { steps, tolerance: positive("tolerance of a minimiser", tolerance)? })
    }
}

impl Display for Until {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "at most {} steps to {:e}", self.steps, self.tolerance)
    }
}

/// The share of the value that a step must lower it by not to stall.
const STALLED: f64 = 1e-9;

/// So many steps in turn that stall are the end.
const PATIENCE: usize = 3;

/// A point of a descent.
#[derive(Clone, Debug)]
struct Iterate {
    at: Vector,
    value: f64,
    gradient: Vector,
    /// The norm that is to be small.
    norm: f64,
    steps: usize,
}

impl Iterate {
    fn new(f: &(impl Differentiable + ?Sized), at: &Vector) -> Self {
        Self::within(&Set::default(), f, at)
    }

    fn within(set: &Set, f: &(impl Differentiable + ?Sized), at: &Vector) -> Self {
        let (value, gradient) = f.gradient(at);
        let norm = set.norm(at, &gradient);
        Self { at: at.clone(), value, gradient, norm, steps: 0 }
    }

    /// Why to stop here, if so.
    fn stop(&self, until: Until) -> Option<Stop> {
        if !(self.value.is_finite() && self.norm.is_finite()) {
            Some(Stop::NotFinite)
        } else if self.norm <= until.tolerance {
            Some(Stop::Converged)
        } else if self.steps >= until.steps {
            Some(Stop::StepLimit)
        } else {
            None
        }
    }

    /// What is below this is rounding of the value.
    fn rounding(&self) -> f64 {
        10.0 * epsilon(self.at.layout()) * self.value.abs().max(f64::MIN_POSITIVE)
    }

    /// Whether the step from here to `next` neither lowered the value nor halved the gradient.
    fn stalls(&self, next: &Self) -> bool {
        next.value >= self.value - STALLED * self.value.abs() && next.norm >= self.norm / 2.0
    }

    fn end(self, stop: Stop) -> Minimum {
        let Self { at, value, norm: gradient_norm, steps, .. } = self;
        Minimum { at, value, gradient_norm, steps, stop }
    }
}
