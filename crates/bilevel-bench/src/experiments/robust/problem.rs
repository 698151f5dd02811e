//! The two losses.

use bilevel_core::{BilevelProblem, SplitProblem, stop_gradient};
use bilevel_models::{ImageClassifier, VNet, cross_entropy};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};

use bilevel_data::loader::ImageBatch;

/// x: the correction for the training set.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made a run")]
pub enum Corrector {
    /// `mwn`: a weight for each loss.
    Weights(VNet),
    /// `mlc`: the probabilities of labels.
    Transition(Transition),
}

/// The probability of each label, given the correct class.
#[derive(Module, Debug)]
pub struct Transition {
    logits: Param<Tensor<2>>,
}

impl Transition {
    /// `T[i][i] = kept` for each of `classes`, all other entries equal.
    ///
    /// # Panics
    /// If `kept` is not between 0 and 1, or there are fewer than two classes.
    pub fn new(classes: usize, kept: f64, device: &Device) -> Self {
        assert!(kept > 0.0 && kept < 1.0 && classes > 1, "a share in (0, 1) of several classes");
        let logit = (kept * (classes - 1) as f64 / (1.0 - kept)).ln() as f32;
        let logits = (0..classes * classes)
            .map(|at| if at / classes == at % classes { logit } else { 0.0 })
            .collect();
        let logits = Tensor::from_data(TensorData::new(logits, [classes, classes]), device);
        Self { logits: Param::from_tensor(logits) }
    }

    /// `T[i][j]`, label i if j is correct. Shape `[classes, classes]`, columns sum to 1.
    pub fn matrix(&self) -> Tensor<2> {
        activation::softmax(self.logits.val(), 0)
    }
}

/// How the network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Training {
    /// On the mean loss; x is ignored.
    Plain,
    /// With x.
    Corrected,
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Robust {
    /// The choice of f.
    pub training: Training,
}

/// The cross-entropy of each sample.
fn losses(y: &ImageClassifier, features: Tensor<2>, batch: &ImageBatch) -> Tensor<1> {
    cross_entropy(y.head(features), batch.labels.clone())
}

impl BilevelProblem for Robust {
    type Upper = Corrector;
    type Lower = ImageClassifier;
    type Batch = ImageBatch;

    fn upper_loss(&self, _: &Corrector, y: &ImageClassifier, batch: &ImageBatch) -> Tensor<1> {
        losses(y, y.features(batch.images.clone()), batch).mean()
    }

    fn lower_loss(&self, x: &Corrector, y: &ImageClassifier, batch: &ImageBatch) -> Tensor<1> {
        self.head_loss(x, y, self.features(y, batch), batch)
    }
}

impl SplitProblem for Robust {
    fn features(&self, y: &ImageClassifier, batch: &ImageBatch) -> Tensor<2> {
        y.features(batch.images.clone())
    }

    fn head_loss(
        &self,
        x: &Corrector,
        y: &ImageClassifier,
        features: Tensor<2>,
        batch: &ImageBatch,
    ) -> Tensor<1> {
        match (self.training, x) {
            (Training::Plain, _) => losses(y, features, batch).mean(),
            (Training::Corrected, Corrector::Weights(network)) => {
                let losses = losses(y, features, batch);
                let weights = network.forward(stop_gradient(losses.clone()));
                (weights.clone() * losses).sum() / weights.sum()
            }
            (Training::Corrected, Corrector::Transition(transition)) => {
                let right = activation::softmax(y.head(features), 1);
                let given = right.matmul(transition.matrix().transpose());
                let labels = batch.labels.clone();
                let n = labels.dims()[0];
                given.gather(1, labels.reshape([n, 1])).log().mean().neg()
            }
        }
    }
}
