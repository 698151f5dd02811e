//! Wide residual networks for small images.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

use crate::layers::{conv, mean_pixel};
use crate::{BatchNorm, BatchNormConfig, Mode};

/// A 3x3 convolution, three stages of pre-activated residual blocks, a normalisation, ReLU, the mean over all
/// pixels, and a linear layer `fc`: `WRN-d-k` with d = 6 `blocks` + 4 layers and k times the width.
///
/// Each later stage halves height and width, rounding up, and has twice the channels. With
/// `a = relu(norm(u))`, a block is `u + conv(relu(norm(conv(a))))` with 3x3 convolutions; if it changes the
/// number of channels, a 1x1 convolution of a replaces u.
///
/// Source: S. Zagoruyko and N. Komodakis, "Wide residual networks", 2016; without their dropout, under which
/// the network is a different function at each evaluation. WRN-28-10 has 36,479,194 parameters for 3 channels
/// and 10 classes.
#[derive(Module, Debug)]
pub struct WideResNet {
    stem: Conv2d,
    blocks: Vec<Block>,
    norm: BatchNorm,
    fc: Linear,
}

#[derive(Module, Debug)]
struct Block {
    first: Preactivated,
    second: Preactivated,
    shortcut: Option<Conv2d>,
}

/// A normalisation followed by ReLU and a convolution.
#[derive(Module, Debug)]
struct Preactivated {
    norm: BatchNorm,
    conv: Conv2d,
}

/// Builds a [`WideResNet`]. Convolutions are initialised from a normal distribution with variance
/// `2 / fan_in` (K. He et al., "Delving deep into rectifiers", 2015), `fc` with Burn's default.
#[derive(Config, Debug)]
pub struct WideResNetConfig {
    /// Channels of an image. Height and width are arbitrary.
    pub inputs: usize,
    /// Number of classes.
    pub classes: usize,
    /// Residual blocks of a stage.
    #[config(default = 4)]
    pub blocks: usize,
    /// The widening factor k of the channels of every stage.
    #[config(default = 10)]
    pub widening: usize,
    /// Channels of the stem, and of the first stage if k is 1.
    #[config(default = 16)]
    pub width: usize,
}

impl WideResNetConfig {
    /// WRN-28-10.
    pub fn wrn_28_10(inputs: usize, classes: usize) -> Self {
        Self::new(inputs, classes)
    }

    /// The network on `device`.
    pub fn init(&self, device: &Device) -> WideResNet {
        let mut inputs = self.width;
        let stem = conv([self.inputs, inputs], 3, 1, device);
        let mut blocks = Vec::with_capacity(3 * self.blocks);
        for stage in 0..3 {
            let outputs = self.widening * (self.width << stage);
            for at in 0..self.blocks {
                let stride = if stage > 0 && at == 0 { 2 } else { 1 };
                let reshapes = stride > 1 || inputs != outputs;
                blocks.push(Block {
                    first: Preactivated::new([inputs, outputs], stride, device),
                    second: Preactivated::new([outputs, outputs], 1, device),
                    shortcut: reshapes.then(|| conv([inputs, outputs], 1, stride, device)),
                });
                inputs = outputs;
            }
        }
        let norm = BatchNormConfig::new(inputs).init(device);
        WideResNet { stem, blocks, norm, fc: LinearConfig::new(inputs, self.classes).init(device) }
    }
}

impl WideResNet {
    /// The input of `fc`: the mean over the pixels of the last stage.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, channels of the last stage]`
    pub fn features(&self, input: Tensor<4>) -> Tensor<2> {
        self.body(input, &mut Mode::Train)
    }

    /// The logits of samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, channels of the last stage]`
    /// - output: `[n, classes]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features)
    }

    /// The logits, in training mode.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, classes]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.forward_with(input, Mode::Train)
    }

    /// The logits, normalised with the statistics of `mode`. Shapes are those of [`Self::forward`].
    ///
    /// # Panics
    /// In [`Mode::Evaluate`], if no statistics were gathered for this network.
    pub fn forward_with(&self, input: Tensor<4>, mut mode: Mode<'_>) -> Tensor<2> {
        self.head(self.body(input, &mut mode))
    }

    pub(crate) fn body(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<2> {
        let mut hidden = self.stem.forward(input);
        for block in &self.blocks {
            hidden = block.forward(hidden, mode);
        }
        mean_pixel(activation::relu(self.norm.forward_with(hidden, mode)))
    }
}

impl Block {
    fn forward(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let active = self.first.activate(input.clone(), mode);
        let added = match &self.shortcut {
            Some(shortcut) => shortcut.forward(active.clone()),
            None => input,
        };
        let hidden = self.second.activate(self.first.conv.forward(active), mode);
        self.second.conv.forward(hidden) + added
    }
}

impl Preactivated {
    fn new(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        let norm = BatchNormConfig::new(channels[0]).init(device);
        Self { norm, conv: conv(channels, 3, stride, device) }
    }

    fn activate(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        activation::relu(self.norm.forward_with(input, mode))
    }
}
