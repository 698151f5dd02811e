//! Logistic regression with one penalty per feature.

use bilevel_core::BilevelProblem;
use burn::tensor::{Tensor, activation};

use crate::{LabelledRows, Values};

/// `feature-penalties`: how strongly to regularise each feature of a two-class logistic regression.
///
/// ```text
/// F = mean_i log(1 + exp(-b_i a_i.w))                                over validation rows
/// f = mean_i log(1 + exp(-b_i a_i.w)) + 1/2 sum_j exp(x_j) w_j^2     over training rows
/// ```
///
/// x and w are in R^p, without an intercept. b is -1 for class 0 and +1 for class 1; other classes are not
/// allowed. f is strongly convex in w, with constant at least `min_j exp(x_j)`, and so is its mean over any
/// batch.
///
/// # Shapes
/// - x, w: `[p]`
/// - batch: inputs `[n, p]`, classes `[n]`
///
/// Source: M. Dagréou, P. Ablin, S. Vaiter, T. Moreau, "A framework for bilevel optimization that enables
/// stochastic and global variance reduction algorithms", 2022, on ijcnn1 (p = 22), and its code
/// benchmark_bilevel. There the 49990 rows of the training file are the training rows, and the rows of the
/// test file are the validation rows.
#[derive(Clone, Copy, Debug)]
pub struct FeaturePenalties;

/// `mean_i log(1 + exp(-b_i a_i.w))`.
fn logistic_loss(w: &Values, batch: &LabelledRows) -> Tensor<1> {
    let signs = batch.classes.clone().float() * 2.0 - 1.0;
    let scores = batch.inputs.clone().matmul(w.val().unsqueeze_dim(1)).squeeze_dim(1);
    // Not `softplus`, whose exponential overflows for confident wrong scores.
    activation::log_sigmoid(scores * signs).mean().neg()
}

impl BilevelProblem for FeaturePenalties {
    type Upper = Values;
    type Lower = Values;
    type Batch = LabelledRows;

    fn upper_loss(&self, _: &Values, w: &Values, validation: &LabelledRows) -> Tensor<1> {
        logistic_loss(w, validation)
    }

    fn lower_loss(&self, x: &Values, w: &Values, training: &LabelledRows) -> Tensor<1> {
        logistic_loss(w, training) + (x.val().exp() * w.val().powi_scalar(2)).sum() * 0.5
    }
}
