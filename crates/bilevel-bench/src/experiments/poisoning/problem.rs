//! The two losses.

use bilevel_core::{Batch, BilevelProblem, Conditions, Frozen, Objective};
use bilevel_models::{ImageClassifier, SoftmaxRegression, cross_entropy};
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

/// The goal of the poisons.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The classifier errs on the samples of the upper level.
    Untargeted,
    /// The classifier assigns to them the labels given there; with this weight of a term that draws the representations
    /// of poisons and samples together.
    Targeted(f64),
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Poisoning {
    /// The goal of the poisons.
    pub goal: Goal,
    /// The weight d of the squared norm of the classifier.
    pub decay: f64,
    /// The largest norm of x, if that is a constraint of the problem.
    pub bound: Option<f64>,
}

/// Added to a squared norm: a norm has no derivative at 0, where every poison starts.
const NEXT_TO_NOTHING: f64 = 1e-12;

/// x: what is added to each base, `[poisons, channels, height, width]`.
#[derive(Module, Debug)]
pub struct Poisons {
    shift: Param<Tensor<4>>,
}

impl Poisons {
    /// Bases altered by `shift`.
    pub fn new(shift: Tensor<4>) -> Self {
        Self { shift: Param::from_tensor(shift) }
    }

    /// What is added to the bases.
    pub fn shift(&self) -> Tensor<4> {
        self.shift.val()
    }
}

/// The representation r: `(features(image) - centre) / unit`.
#[derive(Clone, Debug, Batch)]
pub struct Representation {
    /// The network that computes the features.
    pub network: Frozen<ImageClassifier>,
    /// Their offset, `[1, features]`, or `[1, 1]` for all alike.
    pub centre: Tensor<2>,
    /// Their divisor.
    #[batch(skip)]
    pub unit: f64,
}

impl Representation {
    /// r of each image.
    ///
    /// # Shapes
    /// - images: `[n, channels, height, width]`
    /// - output: `[n, features]`
    pub fn of(&self, images: Tensor<4>) -> Tensor<2> {
        (self.network.0.features(images) - self.centre.clone()) / self.unit
    }
}

/// The data of either level.
#[derive(Clone, Debug, Batch)]
pub struct PoisonBatch {
    /// r
    pub representation: Representation,
    /// The bases of the poisons, `[poisons, channels, height, width]`.
    pub bases: Tensor<4>,
    /// The labels given to the poisons, `[poisons]`.
    pub given: Tensor<1, Int>,
    /// The representation of this level's samples, `[n, features]`.
    pub features: Tensor<2>,
    /// Their labels, `[n]`.
    pub labels: Tensor<1, Int>,
}

impl PoisonBatch {
    fn represented(&self, x: &Poisons) -> Tensor<2> {
        self.representation.of(self.bases.clone() + x.shift())
    }
}

impl BilevelProblem for Poisoning {
    type Upper = Poisons;
    type Lower = SoftmaxRegression;
    type Batch = PoisonBatch;

    fn upper_loss(&self, x: &Poisons, y: &SoftmaxRegression, seen: &PoisonBatch) -> Tensor<1> {
        let loss = cross_entropy(y.forward(seen.features.clone()), seen.labels.clone()).mean();
        match self.goal {
            Goal::Untargeted => loss.neg(),
            Goal::Targeted(weight) => {
                let apart = seen.features.clone() - seen.represented(x);
                let first = seen.features.clone() - seen.representation.of(seen.bases.clone());
                let squared = |apart: Tensor<2>| apart.powi_scalar(2).sum();
                loss + squared(apart) / squared(first) * weight
            }
        }
    }

    fn lower_loss(&self, x: &Poisons, y: &SoftmaxRegression, training: &PoisonBatch) -> Tensor<1> {
        let features = Tensor::cat(vec![training.features.clone(), training.represented(x)], 0);
        let labels = Tensor::cat(vec![training.labels.clone(), training.given.clone()], 0);
        let loss = cross_entropy(y.forward(features), labels).mean();
        match self.decay {
            0.0 => loss,
            decay => loss + y.squared_norm() * (decay / 2.0),
        }
    }

    fn constraints(
        &self,
        level: Objective,
        x: &Poisons,
        _: &SoftmaxRegression,
        _: &PoisonBatch,
    ) -> Conditions {
        match self.bound.filter(|_| level == Objective::Upper) {
            None => Conditions::default(),
            Some(bound) => {
                let squared = x.shift().powi_scalar(2).sum();
                Conditions::at_most_zero((squared + NEXT_TO_NOTHING).sqrt() - bound)
            }
        }
    }
}
