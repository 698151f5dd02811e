//! The oracle: the only place where losses, gradients and products are evaluated and counted.
//!
//! Methods see `dyn Oracle<B>`, vectors in and vectors out. They are compiled once a backend, not once
//! a problem, can be tested on closed formulas, and their costs are counted the same way.

mod anchored;
mod autodiff;
mod constraints;
mod cost;
mod split;
mod stage;

pub(crate) use anchored::Anchored;
pub use autodiff::AutodiffOracle;
pub use constraints::{Constraints, ModuleConstraints, PulledBack};
pub use cost::Cost;
pub use split::SplitOracle;
pub use stage::{Objective, Samples, Stage};

use std::ops::Add;
use std::sync::Arc;

use bilevel_autodiff::{Layout, Vector};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::{Level, Sample};

/// Where a loss is evaluated: both variables and the data.
#[derive(Debug)]
pub struct Point<'a, B: Backend> {
    /// The upper variable.
    pub x: &'a Vector<B>,
    /// The lower variable.
    pub y: &'a Vector<B>,
    /// The data.
    pub sample: Sample,
}

impl<B: Backend> Clone for Point<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Point<'_, B> {}

/// A direction in the space of both variables; `None` is zero and costs nothing.
#[derive(Debug)]
pub struct Direction<'a, B: Backend> {
    /// Its part in x.
    pub x: Option<&'a Vector<B>>,
    /// Its part in y: a vector of y, or of a [part](Layout::part) of it, zero in the rest.
    pub y: Option<&'a Vector<B>>,
}

impl<B: Backend> Clone for Direction<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Direction<'_, B> {}

impl<'a, B: Backend> Direction<'a, B> {
    /// A direction in y alone.
    pub fn lower(y: &'a Vector<B>) -> Self {
        Self { x: None, y: Some(y) }
    }
}

/// The variables that a derivative is wanted in. What is not asked for is not computed.
#[derive(Clone, Copy, Debug)]
pub enum Wrt<'a> {
    /// x alone.
    Upper,
    /// y alone.
    Lower,
    /// x and y.
    Both,
    /// x and a [part](Layout::part) of y. The derivative in y is a vector of that part.
    Part(&'a Arc<Layout>),
}

impl Wrt<'_> {
    /// Whether a variable, or a part of it, is among them.
    pub fn includes(self, level: Level) -> bool {
        matches!(
            (self, level),
            (Wrt::Both | Wrt::Part(_), _) | (Wrt::Upper, Level::Upper) | (Wrt::Lower, Level::Lower)
        )
    }
}

/// A derivative in the variables asked for.
#[derive(Clone, Debug)]
pub struct Sides<B: Backend> {
    /// In x, if asked for.
    pub x: Option<Vector<B>>,
    /// In y, if asked for.
    pub y: Option<Vector<B>>,
}

impl<B: Backend> Add for Sides<B> {
    type Output = Self;

    /// The sum of two derivatives in the same variables.
    fn add(self, other: Self) -> Self {
        let sum = |a: Option<Vector<B>>, b: Option<Vector<B>>| Some(a?.add(&b?));
        Self { x: sum(self.x, other.x), y: sum(self.y, other.y) }
    }
}

impl<B: Backend> Sides<B> {
    /// The part in x.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn into_x(self) -> Vector<B> {
        self.x.expect("the derivative in x was asked for")
    }

    /// The part in y.
    ///
    /// # Panics
    /// If it was not asked for.
    pub fn into_y(self) -> Vector<B> {
        self.y.expect("the derivative in y was asked for")
    }

    /// Both parts.
    ///
    /// # Panics
    /// If one was not asked for.
    pub fn into_both(self) -> (Vector<B>, Vector<B>) {
        let Self { x, y } = self;
        (Self { x, y: None }.into_x(), Self { x: None, y }.into_y())
    }
}

/// A loss that stays on its device until somebody reads it.
#[derive(Clone, Debug)]
pub struct Loss<B: Backend>(Tensor<B, 1>);

impl<B: Backend> Loss<B> {
    /// A loss of shape `[1]`.
    pub fn new(value: Tensor<B, 1>) -> Self {
        Self(value)
    }

    /// Its value. Waits for the device.
    pub fn read(&self) -> f64 {
        // Not `into_scalar`: that rounds to the backend's own element type, f32 on flex.
        self.0.clone().into_data().iter::<f64>().next().unwrap_or(f64::NAN)
    }

    /// The values of all, in one read: waits for the device once.
    pub fn read_all(losses: Vec<Self>) -> Vec<f64> {
        if losses.is_empty() {
            return Vec::new();
        }
        let values = losses.into_iter().map(|loss| loss.0).collect();
        Tensor::cat(values, 0).into_data().iter::<f64>().collect()
    }
}

/// The function `v -> d/dx <f_y, v>` at one point, of directions v in y or in a [part](Layout::part) of it.
pub type Mixed<'a, B> = Box<dyn FnOnce(&Vector<B>) -> Vector<B> + 'a>;

/// Evaluates the two losses of a problem and their derivatives.
///
/// Derivatives are exact up to rounding. Implementations count every call in [`Oracle::cost`].
///
/// # Panics
/// Given a point of another module, implementations panic: its variables are not theirs.
pub trait Oracle<B: Backend> {
    /// The variables of x.
    fn upper_layout(&self) -> &Arc<Layout>;

    /// The variables of y.
    fn lower_layout(&self) -> &Arc<Layout>;

    /// The loss of `level`.
    fn value(&self, level: Level, at: Point<'_, B>) -> Loss<B>;

    /// The loss of `level` and its gradient.
    fn gradient(&self, level: Level, at: Point<'_, B>, wrt: Wrt) -> (Loss<B>, Sides<B>);

    /// The Hessian of the loss of `level`, in x and y together, times a direction: along `v` in y it
    /// is `(d/dx <f_y, v>, f_yy v)`.
    fn product(
        &self,
        level: Level,
        at: Point<'_, B>,
        along: Direction<'_, B>,
        wrt: Wrt,
    ) -> Sides<B>;

    /// f, its gradient in y, and the product `d/dx <f_y, v>` at the same point, along a v that may be chosen
    /// once the gradient is known. What the gradient has computed already may serve the product.
    ///
    /// Counts as a gradient of f, and as a product of f when the product is taken.
    fn gradient_and_mixed<'a>(&'a self, at: Point<'a, B>) -> (Loss<B>, Vector<B>, Mixed<'a, B>) {
        let (loss, sides) = self.gradient(Level::Lower, at, Wrt::Lower);
        let along =
            move |v: &Vector<B>| self.product(Level::Lower, at, Direction::lower(v), Wrt::Upper);
        (loss, sides.into_y(), Box::new(move |v| along(v).into_x()))
    }

    /// The calls so far.
    fn cost(&self) -> Cost;

    /// How many batches the data of a level is divided into.
    fn batches(&self, _: Level) -> usize {
        1
    }
}
