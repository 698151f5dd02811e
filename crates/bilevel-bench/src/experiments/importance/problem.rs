//! The two losses.

use bilevel_core::{Batch, BilevelProblem};
use bilevel_models::ImageClassifier;
use burn::tensor::{Device, Int, Tensor};

use crate::experiments::hyper_cleaning::SampleWeights;
use crate::experiments::images::{integers, losses};
use bilevel_data::loader::ImageBatch;

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Importance;

/// A batch of either level.
#[derive(Clone, Debug, Batch)]
pub struct TrainingBatch {
    /// Its samples.
    pub samples: ImageBatch,
    /// The indices of the weights, `[n]`; none for the validation set, which does not use them.
    pub at: Tensor<1, Int>,
}

impl TrainingBatch {
    /// The samples of a level in batches, the i-th sample with weight i.
    pub fn all(batches: Vec<ImageBatch>, device: &Device) -> Vec<Self> {
        let mut first = 0;
        let numbered = batches.into_iter().map(|samples| {
            let after = first + samples.labels.dims()[0];
            let at = integers(first..after, device);
            first = after;
            Self { samples, at }
        });
        numbered.collect()
    }
}

impl BilevelProblem for Importance {
    type Upper = SampleWeights;
    type Lower = ImageClassifier;
    type Batch = TrainingBatch;

    fn upper_loss(
        &self,
        _: &SampleWeights,
        network: &ImageClassifier,
        validation: &TrainingBatch,
    ) -> Tensor<1> {
        losses(network, &validation.samples).mean()
    }

    fn lower_loss(
        &self,
        x: &SampleWeights,
        network: &ImageClassifier,
        training: &TrainingBatch,
    ) -> Tensor<1> {
        let weights = x.weights().select(0, training.at.clone());
        (weights.clone() * losses(network, &training.samples)).sum() / weights.sum()
    }
}
