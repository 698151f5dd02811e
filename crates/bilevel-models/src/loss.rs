//! Cross-entropy and accuracy.

use burn::tensor::{Int, Tensor, activation};

/// The cross-entropy of each sample, `-log softmax(logits)[label]`.
///
/// # Shapes
/// - logits: `[n, classes]`
/// - labels: `[n]`, each less than `classes`
/// - output: `[n]`
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let n = labels.dims()[0];
    let chosen = activation::log_softmax(logits, 1).gather(1, labels.reshape([n, 1]));
    chosen.reshape([n]).neg()
}

/// The fraction of samples whose largest logit is that of their label.
///
/// # Shapes
/// - logits: `[n, classes]`
/// - labels: `[n]`
pub fn accuracy(logits: Tensor<2>, labels: Tensor<1, Int>) -> f64 {
    let n = labels.dims()[0];
    let right = logits.argmax(1).reshape([n]).equal(labels).int().sum();
    right.into_scalar::<f64>() / n as f64
}
