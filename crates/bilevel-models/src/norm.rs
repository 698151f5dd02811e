//! Batch normalisation for unrolled training.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

use crate::Mode;
use crate::statistics::Moments;

/// Normalises each channel by its mean and variance, then scales and shifts it.
///
/// `y = gamma (x - mean) / sqrt(var + epsilon) + beta`, with statistics over samples and pixels.
///
/// Unlike Burn's, it has no running statistics, and so does not use them on devices without autodiff. The
/// output is the same function of parameters and batch whether it is evaluated or differentiated once or
/// twice, as unrolled steps require. For evaluation, [`Statistics`](crate::Statistics) are gathered outside
/// of the network.
#[derive(Module, Debug)]
pub struct BatchNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    epsilon: f64,
    affine: bool,
}

/// Builds a [`BatchNorm`].
#[derive(Config, Debug)]
pub struct BatchNormConfig {
    /// Number of channels.
    pub channels: usize,
    /// The initial value of gamma.
    #[config(default = 1.0)]
    pub gamma: f64,
    /// Added to the variance.
    #[config(default = 1e-5)]
    pub epsilon: f64,
    /// Whether gamma and beta are learned; otherwise they are fixed at 1 and 0.
    #[config(default = true)]
    pub affine: bool,
}

impl BatchNormConfig {
    /// The layer on `device`; beta is initialised to zeros.
    pub fn init(&self, device: &Device) -> BatchNorm {
        let numbers = |value: f64| {
            let numbers: Param<Tensor<1>> =
                Initializer::Constant { value }.init([self.channels], device);
            numbers.set_require_grad(self.affine)
        };
        BatchNorm {
            gamma: numbers(if self.affine { self.gamma } else { 1.0 }),
            beta: numbers(0.0),
            epsilon: self.epsilon,
            affine: self.affine,
        }
    }
}

impl BatchNorm {
    /// The batch, normalised by its own statistics.
    ///
    /// # Shapes
    /// - input, output: `[n, channels, height, width]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.forward_with(input, &mut Mode::Train)
    }

    /// The batch, normalised with the statistics of `mode`. Shapes are those of [`Self::forward`].
    ///
    /// # Panics
    /// In [`Mode::Evaluate`], if no statistics were gathered for this layer.
    pub fn forward_with(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let shape = input.dims();
        let [samples, channels, height, width] = shape;
        let rows = input.reshape([samples, channels, height * width]);
        let mean = |rows: Tensor<3>| rows.mean_dim(2).mean_dim(0);
        // One number per row, not one per channel: CPU backends are many times faster if only the last axis
        // is broadcast, and computing on the statistics themselves costs almost nothing.
        let each_row = |numbers: Tensor<3>| numbers.repeat_dim(0, samples);
        let per_channel = |p: &Param<Tensor<1>>| p.val().reshape([1, channels, 1]);

        let (centred, variance) = match mode {
            Mode::Evaluate(statistics) => {
                let Moments { mean, variance, .. } = statistics.of(self.gamma.id).clone();
                (rows - each_row(mean), variance)
            }
            Mode::Train | Mode::Gather(_) => {
                let mean_of_batch = mean(rows.clone());
                let centred = rows - each_row(mean_of_batch.clone());
                let variance = mean(centred.clone() * centred.clone());
                if let Mode::Gather(statistics) = mode {
                    let count = samples * height * width;
                    let constant = |numbers: Tensor<3>| numbers.without_autodiff();
                    let (mean, variance) = (constant(mean_of_batch), constant(variance.clone()));
                    statistics.add(self.gamma.id, Moments { count, mean, variance });
                }
                (centred, variance)
            }
        };
        let deviation = (variance + self.epsilon).sqrt();
        if !self.affine {
            return (centred * each_row(deviation.recip())).reshape(shape);
        }
        let scale = per_channel(&self.gamma) / deviation;
        (centred * each_row(scale) + each_row(per_channel(&self.beta))).reshape(shape)
    }
}
