//! The two losses.

use bilevel_core::{Batch, BilevelProblem, Data, Frozen, Objective, Sample};
use bilevel_models::ImageClassifier;
use bilevel_program::Tensors;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData, activation};

use crate::experiments::images::losses;
use bilevel_data::loader::ImageBatch;

/// The certainty of fixed labels: the logit of the correct class, that of the others being 0.
const SURE: f32 = 30.0;

/// x: images, their labels, and the step size of training on them.
#[derive(Module, Debug)]
pub struct Distilled {
    /// `[m, channels, height, width]`
    images: Param<Tensor<4>>,
    /// Logits of q, `[m, classes]`
    labels: Param<Tensor<2>>,
    /// s, `[1]`
    log_step: Param<Tensor<1>>,
}

impl Distilled {
    /// These images, initially labelled with certainty; the labels are variables only if they are `learned`.
    pub fn new(start: &ImageBatch, classes: usize, learned: bool) -> Self {
        let certain = start.labels.clone().one_hot(classes).float() * SURE;
        // Learned labels need a nonzero slope at the start.
        let logits = if learned { certain / (SURE / 5.0) } else { certain };
        let device = start.images.device();
        Self {
            images: Param::from_tensor(start.images.clone()),
            labels: Param::from_tensor(logits).set_require_grad(learned),
            log_step: Param::from_tensor(Tensor::zeros([1], &device)),
        }
    }

    /// The same with another s.
    pub fn with_log_step(mut self, log_step: f64) -> Self {
        let device = self.images.device();
        self.log_step = Param::from_tensor(Tensor::from_data([log_step], &device));
        self
    }

    /// The images, `[m, channels, height, width]`.
    pub fn images(&self) -> Tensor<4> {
        self.images.val()
    }

    /// exp(s)
    pub fn step(&self) -> f64 {
        self.log_step.val().exp().into_scalar()
    }
}

/// The data of one evaluation.
#[derive(Clone, Debug, Batch)]
pub struct Seen {
    /// Real samples; f has none.
    pub samples: Option<ImageBatch>,
    /// The weights to which y is added; none if y is the whole network.
    pub start: Option<Frozen<ImageClassifier>>,
}

/// Batches of real samples, and random initial weights, one of each at each upper step, in order.
#[derive(Clone, Debug)]
pub struct Source {
    /// Real samples.
    pub batches: Vec<ImageBatch>,
    /// Random weights; empty if y is the whole network.
    pub starts: Vec<Frozen<ImageClassifier>>,
}

impl Data<Seen> for Source {
    fn batch(&self, level: Objective, sample: Sample) -> Seen {
        let at = |n: usize| (sample.0 % n.max(1) as u64) as usize;
        let batch = || self.batches[at(self.batches.len())].clone();
        Seen {
            samples: (level == Objective::Upper).then(batch),
            start: self.starts.get(at(self.starts.len())).cloned(),
        }
    }
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Distillation;

/// The network with the weights y, plus those of `start` if there are any.
fn network(y: &ImageClassifier, seen: &Seen) -> ImageClassifier {
    struct Give(Tensors);
    impl ModuleVisitor for Give {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val());
        }
    }
    struct Add(Tensors);
    impl ModuleMapper for Add {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            // `Param::map` would require gradients, which a recorded tensor has none of.
            Param::initialized(param.id, param.val() + self.0.pop())
        }
    }
    let Some(Frozen(start)) = &seen.start else { return y.clone() };
    let mut give = Give(Tensors::default());
    start.visit(&mut give);
    y.clone().map(&mut Add(give.0))
}

impl BilevelProblem for Distillation {
    type Upper = Distilled;
    type Lower = ImageClassifier;
    type Batch = Seen;

    fn upper_loss(&self, _: &Distilled, y: &ImageClassifier, seen: &Seen) -> Tensor<1> {
        let samples = seen.samples.as_ref().expect("F sees real samples");
        losses(&network(y, seen), samples).mean()
    }

    fn lower_loss(&self, x: &Distilled, y: &ImageClassifier, seen: &Seen) -> Tensor<1> {
        let images = x.images();
        let m = images.dims()[0] as f64;
        let found = activation::log_softmax(network(y, seen).forward(images), 1);
        let wanted = activation::softmax(x.labels.val(), 1);
        (wanted * found).sum() * x.log_step.val().exp() / -m
    }
}

/// Images of `shape` (channels, height, width) and their labels on a device.
pub fn labelled(
    images: Vec<f32>,
    labels: &[u32],
    [channels, height, width]: [usize; 3],
    device: &Device,
) -> ImageBatch {
    let images = TensorData::new(images, [labels.len(), channels, height, width]);
    ImageBatch {
        images: Tensor::from_data(images, device),
        labels: crate::experiments::images::integers(
            labels.iter().map(|&label| label as usize),
            device,
        ),
    }
}
