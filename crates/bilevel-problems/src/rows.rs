//! Rows of data and their classes.

use bilevel_program::Batch;
use burn::tensor::{Int, Tensor};

/// Dense rows with one class each: the batch of [`FeaturePenalties`](crate::FeaturePenalties) and
/// [`ClassPenalties`](crate::ClassPenalties).
#[derive(Clone, Debug, Batch)]
pub struct LabelledRows {
    /// `[n, p]`
    pub inputs: Tensor<2>,
    /// `[n]`, numbered from 0.
    pub classes: Tensor<1, Int>,
}
