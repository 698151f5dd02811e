//! The means and variances with which batch normalisation evaluates.

use std::collections::HashMap;

use burn::module::ParamId;
use burn::tensor::Tensor;

/// The source of the statistics for the [`BatchNorm`](crate::BatchNorm) layers in a forward pass.
#[derive(Debug)]
pub enum Mode<'a> {
    /// The current batch: the function that is trained.
    Train,
    /// The current batch, whose statistics are added to those gathered so far.
    Gather(&'a mut Statistics),
    /// The gathered statistics: the output for a sample does not depend on the rest of the batch.
    Evaluate(&'a Statistics),
}

/// The mean and the variance of the input of each [`BatchNorm`](crate::BatchNorm) of a network, over all
/// samples gathered.
///
/// They belong to the weights with which they were gathered, not to the network: they are not parameters,
/// training neither reads nor changes them, and no gradient passes through them. After training, one pass
/// over the training set computes them. If the training set is a single batch, [`Mode::Evaluate`] equals
/// [`Mode::Train`]; with several batches, each is normalised by its own statistics on its way to the next
/// layer, as in training.
///
/// Unlike running averages, they do not lag behind the weights and have no momentum to choose. Source: Y. Wu
/// and J. Johnson, "Rethinking 'batch' in BatchNorm", 2021, "PreciseBN".
///
/// ```
/// use bilevel_models::{ConvNetConfig, Mode, Statistics};
/// use burn::tensor::{Device, Distribution, Tensor};
///
/// let device = Device::flex();
/// let network = ConvNetConfig::new([1, 8, 8], 3).with_channels(vec![4]).init(&device);
/// let batches = [5, 4].map(|n| Tensor::random([n, 1, 8, 8], Distribution::Default, &device));
///
/// let mut statistics = Statistics::default();
/// for batch in &batches {
///     network.forward_with(batch.clone(), Mode::Gather(&mut statistics));
/// }
/// let one = batches[0].clone().narrow(0, 0, 1);
/// let logits = network.forward_with(one, Mode::Evaluate(&statistics));
/// assert_eq!(logits.dims(), [1, 3]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Indexed by the layer's gamma.
    moments: HashMap<ParamId, Moments>,
}

impl Statistics {
    /// The moments of the layer whose gamma is `layer`.
    pub(crate) fn of(&self, layer: ParamId) -> &Moments {
        self.moments.get(&layer).expect(
            "statistics of this very network: gather some with `Mode::Gather` before `Mode::Evaluate`",
        )
    }

    /// Adds the moments of one more batch.
    pub(crate) fn add(&mut self, layer: ParamId, batch: Moments) {
        let batch = match self.moments.remove(&layer) {
            Some(before) => before.and(batch),
            None => batch,
        };
        self.moments.insert(layer, batch);
    }
}

/// The mean and the variance of each channel, over `count` numbers. Tensors of shape `[1, channels, 1]`.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub count: usize,
    pub mean: Tensor<3>,
    pub variance: Tensor<3>,
}

impl Moments {
    /// The moments of both sets of numbers together (T. Chan et al., "Algorithms for computing the sample
    /// variance", 1983).
    fn and(self, other: Self) -> Self {
        let count = self.count + other.count;
        let share = other.count as f64 / count as f64;
        let apart = other.mean - self.mean.clone();
        Self {
            count,
            variance: self.variance * (1.0 - share)
                + other.variance * share
                + apart.clone().powi_scalar(2) * (share * (1.0 - share)),
            mean: self.mean + apart * share,
        }
    }
}
