//! The problem: `min_x F(x, y*(x))` with `y*(x)` in `argmin_y f(x, y)`.

use auto_impl::auto_impl;
use burn::module::Module;
use burn::tensor::Tensor;

use bilevel_program::Batch;
pub use bilevel_program::{Objective, Variable};

/// A bilevel problem, written on ordinary Burn modules.
///
/// ```text
/// min_x F(x, y*(x)),   y*(x) in argmin_y f(x, y)
/// ```
///
/// Implement it for your own type ([a complete one](crate)):
///
/// ```text
/// impl BilevelProblem for Ridge {
///     type Upper = Penalties;
///     type Lower = Linear;
///     type Batch = Points;
///     /* the two losses */
/// }
/// ```
///
/// The losses are recorded as programs, once for the shapes of their data, and the derivatives are those of the
/// program. They must be deterministic: a loss that draws random numbers (dropout) is a different function at each
/// evaluation, and has no meaningful Hessian-vector product.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a bilevel problem",
    label = "no losses `F(x, y)` and `f(x, y)` are known",
    note = "implement `BilevelProblem` for a type of your own, with its `Upper`, `Lower` and `Batch` and both losses"
)]
#[auto_impl(&)]
pub trait BilevelProblem: Sync {
    /// The upper variable x: its trainable parameters.
    type Upper: Module + Sync;
    /// The lower variable y: its trainable parameters.
    type Lower: Module + Sync;
    /// The data of one evaluation: a tensor, a tuple of tensors, or a struct with
    /// [`#[derive(Batch)]`](bilevel_program::Batch). Its tensors are constants.
    type Batch: Batch + Sync;

    /// The upper loss `F(x, y)`, of shape `[1]`.
    fn upper_loss(&self, x: &Self::Upper, y: &Self::Lower, batch: &Self::Batch) -> Tensor<1>;

    /// The lower loss `f(x, y)`, of shape `[1]`.
    fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, batch: &Self::Batch) -> Tensor<1>;

    /// The constraints of a level, functions of both variables; none by default.
    ///
    /// ```text
    /// min_x F(x, y*(x))   with G(x, y*(x)) <= 0, H(x, y*(x)) = 0
    /// y*(x) in argmin_y f(x, y)   with g(x, y) <= 0, h(x, y) = 0
    /// ```
    ///
    /// [`solve`](crate::solve) handles those of both levels, and [`Kkt`](crate::Kkt) those of the lower level; an
    /// [`Oracle`](crate::Oracle) has them. Other methods handle them on a [`BarrierOracle`](crate::BarrierOracle), or
    /// are given them by hand; no run ends as [stationary](crate::Ending::Stationary) where they are violated. Their
    /// number is that of the first batch.
    fn constraints(
        &self,
        level: Objective,
        x: &Self::Upper,
        y: &Self::Lower,
        batch: &Self::Batch,
    ) -> Conditions {
        let _ = (level, x, y, batch);
        Conditions::default()
    }
}

/// The values of the constraints of a level at a point. Bounds are inequalities too.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Numbers that must be at most 0.
    pub at_most_zero: Option<Tensor<1>>,
    /// Numbers that must be 0.
    pub zero: Option<Tensor<1>>,
}

impl Conditions {
    /// `g <= 0`
    pub fn at_most_zero(g: Tensor<1>) -> Self {
        Self { at_most_zero: Some(g), zero: None }
    }

    /// `h = 0`
    pub fn zero(h: Tensor<1>) -> Self {
        Self { at_most_zero: None, zero: Some(h) }
    }

    /// These, and `h = 0`.
    pub fn and_zero(self, h: Tensor<1>) -> Self {
        let zero = match self.zero {
            Some(others) => Tensor::cat(vec![others, h], 0),
            None => h,
        };
        Self { zero: Some(zero), ..self }
    }

    /// The number of equalities.
    pub(crate) fn equalities(&self) -> usize {
        self.zero.as_ref().map_or(0, |h| h.dims()[0])
    }

    /// All numbers, equalities last; none if there are none.
    pub(crate) fn all(self) -> Option<Tensor<1>> {
        match (self.at_most_zero, self.zero) {
            (Some(g), Some(h)) => Some(Tensor::cat(vec![g, h], 0)),
            (g, h) => g.or(h),
        }
    }
}

/// A problem whose lower loss is computed in two stages: features of the samples, and a head on them, such as the last
/// layer of a network and its loss.
///
/// ```text
/// f(x, y) = head(x, y, features(y))
/// ```
///
/// x must not enter the features, which the signature enforces. The oracle finds out which variables of y only the head
/// uses; write the lower loss as
///
/// ```text
/// fn lower_loss(&self, x: &X, y: &Y, batch: &Data) -> Tensor<1> {
///     self.head_loss(x, y, self.features(y, batch), batch)
/// }
/// ```
///
/// so that the two cannot disagree. A [`SplitOracle`](crate::SplitOracle) takes second-order products of such
/// a loss through its head alone.
pub trait SplitProblem: BilevelProblem {
    /// The features of the samples of a batch, `[n, features]`.
    fn features(&self, y: &Self::Lower, batch: &Self::Batch) -> Tensor<2>;

    /// The lower loss of samples with these `features`, of shape `[1]`.
    fn head_loss(
        &self,
        x: &Self::Upper,
        y: &Self::Lower,
        features: Tensor<2>,
        batch: &Self::Batch,
    ) -> Tensor<1>;
}

/// A problem whose x is an extractor of features and whose y is a head on them, as in few-shot learning and wherever a
/// representation is trained for the heads fitted to it.
///
/// ```text
/// F(x, y) = head_F(y, features(x)),   f(x, y) = head_f(y, features(x))
/// ```
///
/// Write both losses as `head_loss(objective, y, features(x, batch), batch)`, so that they cannot disagree. On a
/// [`FeatureOracle`](crate::FeatureOracle), [`OnFeatures`](crate::OnFeatures) passes through the extractor once.
pub trait FeatureProblem: BilevelProblem {
    /// The features of the samples of a batch, `[n, features]`.
    fn features(&self, x: &Self::Upper, batch: &Self::Batch) -> Tensor<2>;

    /// The loss of `objective` of samples with these `features`, of shape `[1]`.
    fn head_loss(
        &self,
        objective: Objective,
        y: &Self::Lower,
        features: Tensor<2>,
        batch: &Self::Batch,
    ) -> Tensor<1>;
}
