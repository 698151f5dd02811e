//! The gradient check of this experiment's losses.

use bilevel_autodiff::{
    Layout, Loss, Report, Tolerances, Track, Vector, check_within, lift_reverse,
};
use bilevel_core::{BilevelProblem, Level};
use bilevel_flex::FastFlex;
use bilevel_models::Classifier;
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use rand::Rng;

use super::{HyperCleaning, Labelled, ModelName, Prepared, SampleWeights};
use crate::backend::{BackendError, flex_in_f64};
use crate::data::{Dataset, Purpose, stream};

/// x and y as one module, so that the Hessian of a loss holds its mixed derivatives too.
#[derive(Module, Debug)]
struct Both<B: Backend> {
    x: SampleWeights<B>,
    y: Classifier<B>,
}

/// One of the two losses, on the samples it is taken over.
struct LevelLoss<'a> {
    level: Level,
    samples: &'a Dataset,
}

impl<B: Backend> Loss<B> for LevelLoss<'_> {
    type Module = Both<B>;

    fn loss(&self, Both { x, y }: &Both<B>) -> Tensor<B, 1> {
        let batch = Labelled::new(self.samples, &B::Device::default());
        match self.level {
            Level::Upper => HyperCleaning.upper_loss(x, y, &batch),
            Level::Lower => HyperCleaning.lower_loss(x, y, &batch),
        }
    }
}

/// Steps so short that hardly ever a kink of ReLU lies within one: there a loss has no derivative.
const BETWEEN_KINKS: Tolerances = Tolerances { step: 1e-6, reach: 2e-5, ..Tolerances::F64 };

impl Prepared {
    /// Checks the derivatives of both losses in x and y together, at a random point, in f64 on flex.
    ///
    /// # Errors
    /// If this process has already computed in f32 on flex: Burn fixes the precision once a process.
    pub fn check(&self) -> Result<[(Level, Report); 2], BackendError> {
        let device = flex_in_f64()?;
        let both = Both::<Autodiff<FastFlex>> {
            x: SampleWeights::new(vec![0.0; self.parts.train.len()], &device),
            y: self.settings.model.config(&self.parts.train).init(&device),
        };
        // Zeros, where softmax regression starts, would hide much: a gradient that is zero there.
        let layout = Layout::of(&both);
        let mut rng = stream(self.settings.seed, Purpose::Point);
        let values: Vec<f64> = (0..layout.size()).map(|_| rng.random_range(-0.5..0.5)).collect();
        let point = Vector::from_slice(&layout, &values, &device);
        let both = lift_reverse::<FastFlex, Both<_>>(&both.valid(), &point, Track::Leaves).module;

        let tolerances = match self.settings.model {
            ModelName::Softmax => Tolerances::F64,
            ModelName::Mlp => BETWEEN_KINKS,
        };
        let losses = [(Level::Upper, &self.parts.validation), (Level::Lower, &self.parts.train)];
        Ok(losses.map(|(level, samples)| {
            (level, check_within(&LevelLoss { level, samples }, &both, &tolerances))
        }))
    }
}
