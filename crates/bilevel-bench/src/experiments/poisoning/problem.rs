//! The two losses.

use bilevel_core::BilevelProblem;
use bilevel_models::{ImageClassifier, SoftmaxRegression, cross_entropy};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// What the poisons are for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// That the classifier errs on the samples of the upper level.
    Untargeted,
    /// That it gives them the labels they have there; with the representations of poisons and samples drawn
    /// together by this weight.
    Targeted(f64),
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Poisoning {
    /// What the poisons are for.
    pub goal: Goal,
    /// The weight d of the squared norm of the classifier.
    pub decay: f64,
}

/// x: what is added to each base, `[poisons, channels, height, width]`.
#[derive(Module, Debug)]
pub struct Poisons<B: Backend> {
    shift: Param<Tensor<B, 4>>,
}

impl<B: Backend> Poisons<B> {
    /// Bases altered by `shift`.
    pub fn new(shift: Tensor<B, 4>) -> Self {
        Self { shift: Param::from_tensor(shift) }
    }

    /// What is added to the bases.
    pub fn shift(&self) -> Tensor<B, 4> {
        self.shift.val()
    }
}

/// What either level sees.
#[derive(Module, Debug)]
pub struct PoisonBatch<B: Backend> {
    /// Its features are the representation r.
    pub network: ImageClassifier<B>,
    /// Its features are those of the network less this, `[1, features]`, ...
    pub centre: Tensor<B, 2>,
    /// ... and divided by this.
    pub unit: f64,
    /// What the poisons are made from, `[poisons, channels, height, width]`.
    pub bases: Tensor<B, 4>,
    /// The labels that the poisons are given, `[poisons]`.
    pub given: Tensor<B, 1, Int>,
    /// The representation of this level's samples, `[n, features]`.
    pub features: Tensor<B, 2>,
    /// Their labels, `[n]`.
    pub labels: Tensor<B, 1, Int>,
}

impl<B: Backend> PoisonBatch<B> {
    fn seen(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        (self.network.features(images) - self.centre.clone()) / self.unit
    }

    fn represented(&self, x: &Poisons<B>) -> Tensor<B, 2> {
        self.seen(self.bases.clone() + x.shift())
    }
}

impl<B: Backend> BilevelProblem<B> for Poisoning {
    type Upper = Poisons<B>;
    type Lower = SoftmaxRegression<B>;
    type Batch = PoisonBatch<B>;

    fn upper_loss(
        &self,
        x: &Poisons<B>,
        y: &SoftmaxRegression<B>,
        seen: &PoisonBatch<B>,
    ) -> Tensor<B, 1> {
        let loss = cross_entropy(y.forward(seen.features.clone()), seen.labels.clone()).mean();
        match self.goal {
            Goal::Untargeted => loss.neg(),
            Goal::Targeted(weight) => {
                let apart = seen.features.clone() - seen.represented(x);
                let first = seen.features.clone() - seen.seen(seen.bases.clone());
                let squared = |apart: Tensor<B, 2>| apart.powi_scalar(2).sum();
                loss + squared(apart) / squared(first) * weight
            }
        }
    }

    fn lower_loss(
        &self,
        x: &Poisons<B>,
        y: &SoftmaxRegression<B>,
        training: &PoisonBatch<B>,
    ) -> Tensor<B, 1> {
        let features = Tensor::cat(vec![training.features.clone(), training.represented(x)], 0);
        let labels = Tensor::cat(vec![training.labels.clone(), training.given.clone()], 0);
        let loss = cross_entropy(y.forward(features), labels).mean();
        match self.decay {
            0.0 => loss,
            decay => loss + y.squared_norm() * (decay / 2.0),
        }
    }
}
