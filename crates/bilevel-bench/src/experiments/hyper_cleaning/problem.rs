//! The two losses.

use std::ops::Range;

use bilevel_core::{Batch, BilevelProblem};
use bilevel_models::{Classifier, cross_entropy};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use bilevel_data::Dataset;

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug, Default)]
pub struct HyperCleaning {
    /// c, the weight of `norm(y)^2` in F.
    pub decay: f64,
}

/// x: one logit per training sample; the weight is its sigmoid.
#[derive(Module, Debug)]
pub struct SampleWeights {
    logits: Param<Tensor<1>>,
}

impl SampleWeights {
    /// These logits.
    pub fn new(logits: Vec<f32>, device: &Device) -> Self {
        let n = logits.len();
        let logits = Tensor::from_data(TensorData::new(logits, [n]), device);
        Self { logits: Param::from_tensor(logits) }
    }

    /// The weights, in (0, 1). Shape `[n]`.
    pub fn weights(&self) -> Tensor<1> {
        activation::sigmoid(self.logits.val())
    }
}

/// Samples and their labels.
#[derive(Clone, Debug, Batch)]
pub struct Labelled {
    /// `[n, features]`
    pub inputs: Tensor<2>,
    /// `[n]`
    pub labels: Tensor<1, Int>,
    /// The indices of their weights in x, `[n]`; none if x has one weight for each of these samples, in order.
    pub rows: Option<Tensor<1, Int>>,
}

impl Labelled {
    /// A data set on a device.
    pub fn new(set: &Dataset, device: &Device) -> Self {
        let inputs = TensorData::new(set.images().to_vec(), [set.len(), set.features()]);
        let labels: Vec<i32> = set.labels().iter().map(|&label| label as i32).collect();
        let labels = TensorData::new(labels, [set.len()]);
        Self {
            inputs: Tensor::from_data(inputs, device),
            labels: Tensor::from_data(labels, device),
            rows: None,
        }
    }

    /// Equal parts: those of `own`, of all `shards`.
    pub fn parts(&self, own: Range<usize>, shards: usize) -> Vec<Self> {
        if shards == 1 {
            return vec![self.clone()];
        }
        let size = self.labels.dims()[0] / shards;
        let part = |shard: usize| {
            let rows = shard * size..(shard + 1) * size;
            let all = Tensor::arange(rows.start as i64..rows.end as i64, &self.labels.device());
            Self {
                inputs: self.inputs.clone().slice(rows.clone()),
                labels: self.labels.clone().slice(rows),
                rows: Some(all),
            }
        };
        own.map(part).collect()
    }

    fn losses(&self, classifier: &Classifier) -> Tensor<1> {
        cross_entropy(classifier.forward(self.inputs.clone()), self.labels.clone())
    }
}

/// `norm(y)^2`
fn squared_norm(classifier: &Classifier) -> Tensor<1> {
    let squared = |layer: &Linear| {
        let weight = layer.weight.val().powi_scalar(2).sum();
        match &layer.bias {
            Some(bias) => weight + bias.val().powi_scalar(2).sum(),
            None => weight,
        }
    };
    let layers = match classifier {
        Classifier::Softmax(network) => std::slice::from_ref(network.layer()),
        Classifier::Mlp(network) => network.layers(),
    };
    layers.iter().map(squared).reduce(|a, b| a + b).expect("a network has layers")
}

impl BilevelProblem for HyperCleaning {
    type Upper = SampleWeights;
    type Lower = Classifier;
    type Batch = Labelled;

    fn upper_loss(
        &self,
        _: &SampleWeights,
        classifier: &Classifier,
        validation: &Labelled,
    ) -> Tensor<1> {
        let loss = validation.losses(classifier).mean();
        match self.decay {
            0.0 => loss,
            decay => loss + squared_norm(classifier) * decay,
        }
    }

    fn lower_loss(
        &self,
        x: &SampleWeights,
        classifier: &Classifier,
        training: &Labelled,
    ) -> Tensor<1> {
        let weights = match &training.rows {
            Some(rows) => activation::sigmoid(x.logits.val().select(0, rows.clone())),
            None => x.weights(),
        };
        (weights * training.losses(classifier)).mean()
    }
}
