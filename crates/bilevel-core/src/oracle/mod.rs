//! The oracle: the only place where losses, gradients and products are evaluated.
//!
//! Methods see `dyn Oracle`, vectors in and vectors out. They are compiled once, not once per problem, can be tested on
//! closed formulas, and their costs are all counted in the same way.

mod anchored;
mod autodiff;
mod barrier;
mod constraints;
mod cost;
mod counted;
mod features;
mod lower_problem;
mod nested;
mod recorded_constraints;
mod rescaled;
mod split;

pub(crate) use anchored::Anchored;
pub use autodiff::AutodiffOracle;
pub use barrier::BarrierOracle;
pub use constraints::{Constraints, PulledBack, Unconstrained};
pub use cost::Cost;
pub use counted::Counted;
pub use features::{FeatureOracle, Reduced};
pub use lower_problem::{Curvature, LowerProblem, Samples, WeightedSum};
pub use nested::Nested;
pub(crate) use rescaled::{Rescaled, Units};
pub use split::SplitOracle;

use std::sync::Arc;

use auto_impl::auto_impl;
pub use bilevel_program::{Derivative, Direction, Partials, Program, Wrt};
use bilevel_program::{Layout, Vector, float};
use burn::backend::DispatchTensor;
use burn::tensor::Tensor;

use crate::{Error, Objective, Sample};

/// The methods of [`Oracle`] that a decorator passes on to the oracle in one of its fields, by their names.
///
/// A method that is neither named nor written has the default of the trait. Those of `linearize` and
/// `gradient_and_mixed` call `gradient` and `product` of the decorator: name them only where it changes neither.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use bilevel_core::*;
///
/// /// Notes how many gradients are requested.
/// struct Noted<O> {
///     inner: O,
///     gradients: AtomicUsize,
/// }
///
/// impl<O: Oracle> Oracle for Noted<O> {
///     forward_oracle!(inner: upper_layout, lower_layout, value, product, constraints, batches);
///
///     fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt<'_>) -> (Loss, Partials) {
///         self.gradients.fetch_add(1, Ordering::Relaxed);
///         self.inner.gradient(objective, at, wrt)
///     }
/// }
/// ```
#[macro_export]
macro_rules! forward_oracle {
    ($to:tt: $($name:ident),* $(,)?) => { $($crate::forward_oracle!(@$name $to);)* };
    (@upper_layout $to:tt) => {
        fn upper_layout(&self) -> &::std::sync::Arc<$crate::Layout> {
            self.$to.upper_layout()
        }
    };
    (@lower_layout $to:tt) => {
        fn lower_layout(&self) -> &::std::sync::Arc<$crate::Layout> {
            self.$to.lower_layout()
        }
    };
    (@value $to:tt) => {
        fn value(&self, objective: $crate::Objective, at: $crate::Point<'_>) -> $crate::Loss {
            self.$to.value(objective, at)
        }
    };
    (@gradient $to:tt) => {
        fn gradient(
            &self,
            objective: $crate::Objective,
            at: $crate::Point<'_>,
            wrt: $crate::Wrt<'_>,
        ) -> ($crate::Loss, $crate::Partials) {
            self.$to.gradient(objective, at, wrt)
        }
    };
    (@product $to:tt) => {
        fn product(
            &self,
            objective: $crate::Objective,
            at: $crate::Point<'_>,
            along: $crate::Direction<'_>,
            wrt: $crate::Wrt<'_>,
        ) -> $crate::Partials {
            self.$to.product(objective, at, along, wrt)
        }
    };
    (@linearize $to:tt) => {
        fn linearize<'a>(
            &'a self,
            objective: $crate::Objective,
            at: $crate::Point<'_>,
            gradient: Option<$crate::Wrt<'_>>,
            along: $crate::Wrt<'_>,
            wrt: $crate::Wrt<'_>,
        ) -> $crate::Linearization<'a> {
            self.$to.linearize(objective, at, gradient, along, wrt)
        }
    };
    (@gradient_and_mixed $to:tt) => {
        fn gradient_and_mixed<'a>(
            &'a self,
            at: $crate::Point<'a>,
        ) -> ($crate::Loss, $crate::Vector, $crate::Mixed<'a>) {
            self.$to.gradient_and_mixed(at)
        }
    };
    (@reduced $to:tt) => {
        fn reduced<'a>(
            &'a self,
            x: &$crate::Vector,
            samples: $crate::Samples,
        ) -> Option<Result<$crate::Reduced<'a>, $crate::Error>> {
            self.$to.reduced(x, samples)
        }
    };
    (@constraints $to:tt) => {
        fn constraints<'a>(
            &'a self,
            level: $crate::Objective,
            sample: $crate::Sample,
        ) -> Option<Box<dyn $crate::Constraints + 'a>> {
            self.$to.constraints(level, sample)
        }
    };
    (@batches $to:tt) => {
        fn batches(&self, objective: $crate::Objective) -> usize {
            self.$to.batches(objective)
        }
    };
    (@program $to:tt) => {
        fn program(
            &self,
            objective: $crate::Objective,
            what: $crate::Derivative,
            at: $crate::Point<'_>,
        ) -> Option<$crate::Program> {
            self.$to.program(objective, what, at)
        }
    };
    (@is_collective $to:tt) => {
        fn is_collective(&self) -> bool {
            self.$to.is_collective()
        }
    };
}

/// Where a loss is evaluated: both variables and the data.
#[derive(Clone, Copy, Debug)]
pub struct Point<'a> {
    /// The upper variable.
    pub x: &'a Vector,
    /// The lower variable.
    pub y: &'a Vector,
    /// The data.
    pub sample: Sample,
}

/// A loss that stays on its device until it is read.
#[derive(Clone, Debug)]
pub struct Loss(Tensor<1>);

impl Loss {
    /// A loss of shape `[1]`.
    pub fn new(value: Tensor<1>) -> Self {
        Self(value)
    }

    /// A loss of shape `[1]` as a tensor of any device.
    pub fn of(value: DispatchTensor) -> Self {
        Self(Tensor::from_dispatch(value))
    }

    /// The tensor of any device.
    pub(crate) fn into_dispatch(self) -> DispatchTensor {
        self.0.into_dispatch()
    }

    /// Its value. Waits for the device.
    pub fn read(&self) -> f64 {
        float::read(self.0.clone().into_dispatch()).iter::<f64>().next().unwrap_or(f64::NAN)
    }

    /// The values of all, in one read: waits for the device once.
    pub fn read_all(losses: Vec<Self>) -> Vec<f64> {
        float::read_numbers(losses.into_iter().map(|loss| loss.0.into_dispatch()).collect())
    }
}

/// A loss at one point, to second order.
pub struct Linearization<'a> {
    /// The loss, if a gradient was requested.
    pub loss: Option<Loss>,
    /// Its gradient, in the variables that were requested.
    pub gradient: Partials,
    /// Its Hessian.
    pub hessian: Hessian<'a>,
}

/// The Hessian of a loss at one point, in x and y together, for products with directions.
pub struct Hessian<'a> {
    product: Box<dyn Fn(Direction<'_>, Wrt<'_>) -> Partials + 'a>,
    bytes: usize,
}

impl<'a> Hessian<'a> {
    /// The Hessian whose products `product` computes, and the bytes that it holds.
    pub fn new(product: impl Fn(Direction<'_>, Wrt<'_>) -> Partials + 'a, bytes: usize) -> Self {
        Self { product: Box::new(product), bytes }
    }

    /// The Hessian times a direction, in the variables requested.
    ///
    /// # Panics
    /// If the direction or the variables differ from those named to [`Oracle::linearize`].
    pub fn product(&self, along: Direction<'_>, wrt: Wrt<'_>) -> Partials {
        (self.product)(along, wrt)
    }

    /// Bytes that are held for the products.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The function `v -> d/dx <f_y, v>` at one point, of directions v in y or in a [part](Layout::part) of it.
pub type Mixed<'a> = Box<dyn FnOnce(&Vector) -> Vector + 'a>;

/// Evaluates the two losses of a problem and their derivatives.
///
/// Derivatives are exact up to rounding. [`Counted`] counts the calls of any oracle; a decorator of your own passes on
/// what it leaves unchanged by [`forward_oracle`](crate::forward_oracle).
///
/// It may be called by several threads at once, as [`Tasks`](crate::Tasks) does.
///
/// # Panics
/// Implementations panic at a point of another module, whose variables are not theirs.
#[auto_impl(&, Box, Arc)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no oracle",
    label = "no losses to evaluate",
    note = "an oracle of a problem: `AutodiffOracle::new(problem, &x, &y, data)?`",
    note = "the constructors check their arguments and give a `Result`: is a `?` missing?"
)]
pub trait Oracle: Sync {
    /// The variables of x.
    fn upper_layout(&self) -> &Arc<Layout>;

    /// The variables of y.
    fn lower_layout(&self) -> &Arc<Layout>;

    /// The loss of `objective`.
    fn value(&self, objective: Objective, at: Point<'_>) -> Loss;

    /// The loss of `objective` and its gradient.
    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials);

    /// The Hessian of the loss of `objective`, in x and y together, times a direction: along `v` in y it
    /// is `(d/dx <f_y, v>, f_yy v)`.
    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials;

    /// The loss of `objective` at a point, its gradient in the variables `gradient`, and its Hessian, for products in
    /// the variables `wrt` along directions in the variables `along`. What depends only on the point may be computed
    /// once.
    ///
    /// Counts as a gradient if one is requested, and as a product for each that is taken.
    fn linearize<'a>(
        &'a self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        let _ = (along, wrt);
        let (x, y, sample) = (at.x.clone(), at.y.clone(), at.sample);
        let (loss, gradient) = match gradient {
            Some(wrt) => {
                let (loss, gradient) = self.gradient(objective, at, wrt);
                (Some(loss), gradient)
            }
            None => (None, Partials { x: None, y: None }),
        };
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            self.product(objective, Point { x: &x, y: &y, sample }, along, wrt)
        };
        Linearization { loss, gradient, hessian: Hessian::new(product, 0) }
    }

    /// f, its gradient in y, and the product `d/dx <f_y, v>` at the same point, along a v that may be chosen once the
    /// gradient is known. The product may reuse what the gradient has computed.
    ///
    /// Counts as a gradient of f, and as a product of f when the product is taken.
    fn gradient_and_mixed<'a>(&'a self, at: Point<'a>) -> (Loss, Vector, Mixed<'a>) {
        let (loss, sides) = self.gradient(Objective::Lower, at, Wrt::Y);
        let along =
            move |v: &Vector| self.product(Objective::Lower, at, Direction::in_y(v), Wrt::X);
        (loss, sides.into_y(), Box::new(move |v| along(v).into_x()))
    }

    /// The problem at x and these samples with their features in place of x; none if x is not an extractor of features.
    fn reduced<'a>(&'a self, x: &Vector, samples: Samples) -> Option<Result<Reduced<'a>, Error>> {
        let _ = (x, samples);
        None
    }

    /// The [constraints](crate::BilevelProblem::constraints) of a level on the data of `sample`; none if it has none.
    fn constraints<'a>(
        &'a self,
        level: Objective,
        sample: Sample,
    ) -> Option<Box<dyn Constraints + 'a>> {
        let _ = (level, sample);
        None
    }

    /// How many batches the data of a level is divided into.
    fn batches(&self, objective: Objective) -> usize {
        let _ = objective;
        1
    }

    /// The program of the loss of `objective`, its gradient or its product, in all variables; none if the losses are
    /// not recorded. Only the shapes of `at` matter.
    fn program(&self, objective: Objective, what: Derivative, at: Point<'_>) -> Option<Program> {
        let _ = (objective, what, at);
        None
    }

    /// Whether a call is a message to other processes, which make the same calls in the same order: then only one
    /// thread at a time may call.
    fn is_collective(&self) -> bool {
        false
    }
}
