//! Softmax regression with one penalty per class.

use bilevel_core::BilevelProblem;
use bilevel_models::cross_entropy;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use crate::{LabelledRows, Values};

/// `class-penalties`: how strongly to regularise each class of a softmax regression.
///
/// ```text
/// F = mean_i -log softmax(a_i W)[b_i]                                     over validation rows
/// f = mean_i -log softmax(a_i W)[b_i] + 1/2 sum_c exp(x_c) norm(W_c)^2    over training rows
/// ```
///
/// W has one column W_c per class and no intercept. f is strongly convex in W, with constant at least
/// `min_c exp(x_c)`.
///
/// # Shapes
/// - x: `[k]`
/// - W: `[p, k]`
/// - batch: inputs `[n, p]`, classes `[n]`, each less than k
///
/// Source: benchmark_bilevel, the benchmark of M. Dagréou, P. Ablin, S. Vaiter, T. Moreau, "A framework for
/// bilevel optimization that enables stochastic and global variance reduction algorithms", 2022, with covtype
/// as data. The source does not use 20newsgroups (p = 130107, k = 20) with these losses.
#[derive(Clone, Copy, Debug)]
pub struct ClassPenalties;

/// W.
#[derive(Module, Debug)]
pub struct ClassWeights {
    /// `[p, k]`
    pub values: Param<Tensor<2>>,
}

impl ClassWeights {
    /// With the given values, `[p, k]`.
    pub fn new(values: Tensor<2>) -> Self {
        Self { values: Param::from_tensor(values) }
    }

    /// W = 0, where all classes are equally likely.
    pub fn zeros(features: usize, classes: usize, device: &Device) -> Self {
        Self::new(Tensor::zeros([features, classes], device))
    }

    /// The logits.
    ///
    /// # Shapes
    /// - input: `[n, p]`
    /// - output: `[n, k]`
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        input.matmul(self.values.val())
    }

    fn loss(&self, batch: &LabelledRows) -> Tensor<1> {
        cross_entropy(self.forward(batch.inputs.clone()), batch.classes.clone()).mean()
    }
}

impl BilevelProblem for ClassPenalties {
    type Upper = Values;
    type Lower = ClassWeights;
    type Batch = LabelledRows;

    fn upper_loss(&self, _: &Values, w: &ClassWeights, validation: &LabelledRows) -> Tensor<1> {
        w.loss(validation)
    }

    fn lower_loss(&self, x: &Values, w: &ClassWeights, training: &LabelledRows) -> Tensor<1> {
        // Sums the squares over features first: k products with a penalty instead of p k.
        let squares = w.values.val().powi_scalar(2).sum_dim(0).squeeze_dim(0);
        w.loss(training) + (x.val().exp() * squares).sum() * 0.5
    }
}
