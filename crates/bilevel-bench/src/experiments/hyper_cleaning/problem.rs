//! The two losses.

use bilevel_core::BilevelProblem;
use bilevel_models::{Classifier, cross_entropy};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData, activation};

use crate::data::Dataset;

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct HyperCleaning;

/// x: one logit a training sample; the weight is its sigmoid.
#[derive(Module, Debug)]
pub struct SampleWeights<B: Backend> {
    logits: Param<Tensor<B, 1>>,
}

impl<B: Backend> SampleWeights<B> {
    /// These logits.
    pub fn new(logits: Vec<f32>, device: &B::Device) -> Self {
        let n = logits.len();
        let logits = Tensor::from_data(TensorData::new(logits, [n]), device);
        Self { logits: Param::from_tensor(logits) }
    }

    /// The weights, in (0, 1). Shape `[n]`.
    pub fn weights(&self) -> Tensor<B, 1> {
        activation::sigmoid(self.logits.val())
    }
}

/// Samples and their labels.
#[derive(Module, Debug)]
pub struct Labelled<B: Backend> {
    /// `[n, features]`
    pub inputs: Tensor<B, 2>,
    /// `[n]`
    pub labels: Tensor<B, 1, Int>,
}

impl<B: Backend> Labelled<B> {
    /// A data set on a device.
    pub fn new(set: &Dataset, device: &B::Device) -> Self {
        let inputs = TensorData::new(set.images().to_vec(), [set.len(), set.features()]);
        let labels: Vec<i32> = set.labels().iter().map(|&label| label as i32).collect();
        let labels = TensorData::new(labels, [set.len()]);
        Self {
            inputs: Tensor::from_data(inputs, device),
            labels: Tensor::from_data(labels, device),
        }
    }

    fn losses(&self, classifier: &Classifier<B>) -> Tensor<B, 1> {
        cross_entropy(classifier.forward(self.inputs.clone()), self.labels.clone())
    }
}

impl<B: Backend> BilevelProblem<B> for HyperCleaning {
    type Upper = SampleWeights<B>;
    type Lower = Classifier<B>;
    type Batch = Labelled<B>;

    fn upper_loss(
        &self,
        _: &SampleWeights<B>,
        classifier: &Classifier<B>,
        validation: &Labelled<B>,
    ) -> Tensor<B, 1> {
        validation.losses(classifier).mean()
    }

    fn lower_loss(
        &self,
        x: &SampleWeights<B>,
        classifier: &Classifier<B>,
        training: &Labelled<B>,
    ) -> Tensor<B, 1> {
        (x.weights() * training.losses(classifier)).mean()
    }
}
