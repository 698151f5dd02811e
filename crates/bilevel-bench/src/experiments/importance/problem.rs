//! The two losses.

use bilevel_core::BilevelProblem;
use bilevel_models::ImageClassifier;
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

use crate::data::loader::ImageBatch;
use crate::experiments::hyper_cleaning::SampleWeights;
use crate::experiments::images::{integers, losses};

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Importance;

/// A batch of either level.
#[derive(Module, Debug)]
pub struct TrainingBatch<B: Backend> {
    /// Its samples.
    pub samples: ImageBatch<B>,
    /// Which weight is whose, `[n]`; the validation set has none, and no use for them.
    pub at: Tensor<B, 1, Int>,
}

impl<B: Backend> TrainingBatch<B> {
    /// The samples of a level in batches, the i-th sample under weight i.
    pub fn all(batches: Vec<ImageBatch<B>>, device: &B::Device) -> Vec<Self> {
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

impl<B: Backend> BilevelProblem<B> for Importance {
    type Upper = SampleWeights<B>;
    type Lower = ImageClassifier<B>;
    type Batch = TrainingBatch<B>;

    fn upper_loss(
        &self,
        _: &SampleWeights<B>,
        network: &ImageClassifier<B>,
        validation: &TrainingBatch<B>,
    ) -> Tensor<B, 1> {
        losses(network, &validation.samples).mean()
    }

    fn lower_loss(
        &self,
        x: &SampleWeights<B>,
        network: &ImageClassifier<B>,
        training: &TrainingBatch<B>,
    ) -> Tensor<B, 1> {
        let weights = x.weights().select(0, training.at.clone());
        (weights.clone() * losses(network, &training.samples)).sum() / weights.sum()
    }
}
