//! The two losses.

use bilevel_core::BilevelProblem;
use bilevel_data::loader::ImageBatch;
use bilevel_models::{Architecture, CellNetwork, Mode, cross_entropy};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// c
    pub decay: f64,
}

/// The squared norm of all weights except biases.
fn square(y: &CellNetwork) -> Tensor<1> {
    #[derive(Default)]
    struct Sum(Option<Tensor<1>>);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D > 1 {
                let square = param.val().powi_scalar(2).sum();
                self.0 = Some(match self.0.take() {
                    Some(sum) => sum + square,
                    None => square,
                });
            }
        }
    }
    let mut sum = Sum::default();
    y.visit(&mut sum);
    sum.0.expect("a network has weights")
}

impl BilevelProblem for Search {
    type Upper = Architecture;
    type Lower = CellNetwork;
    type Batch = ImageBatch;

    fn upper_loss(&self, x: &Architecture, y: &CellNetwork, batch: &ImageBatch) -> Tensor<1> {
        let logits = y.forward_mixed(batch.images.clone(), x, Mode::Train);
        cross_entropy(logits, batch.labels.clone()).mean()
    }

    fn lower_loss(&self, x: &Architecture, y: &CellNetwork, batch: &ImageBatch) -> Tensor<1> {
        self.upper_loss(x, y, batch) + square(y) * (0.5 * self.decay)
    }
}
