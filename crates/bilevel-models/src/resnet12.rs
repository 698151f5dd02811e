//! The residual network of few-shot learning.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

use crate::layers::{conv, mean_pixel};
use crate::{BatchNorm, BatchNormConfig, Mode};

/// The slope of the leaky ReLU below 0.
const SLOPE: f64 = 0.1;

/// Four residual blocks of three 3x3 convolutions, each followed by a normalisation and, except for the last, a leaky
/// ReLU; the input of the block is added through a 1x1 convolution and a normalisation, and 2x2 max-pooling follows.
/// Then the mean over all pixels, and a linear layer `fc`.
///
/// The blocks have 1, 2, 4 and 8 times the channels of the first. Source: B. Oreshkin et al., "TADAM: task dependent
/// adaptive metric for improved few-shot learning", 2018, without its conditioning on the task.
#[derive(Module, Debug)]
pub struct ResNet12 {
    blocks: Vec<Block>,
    fc: Linear,
}

#[derive(Module, Debug)]
struct Block {
    layers: Vec<Layer>,
    shortcut: Layer,
    pool: MaxPool2d,
}

#[derive(Module, Debug)]
struct Layer {
    conv: Conv2d,
    norm: BatchNorm,
}

/// Builds a [`ResNet12`].
#[derive(Config, Debug)]
pub struct ResNet12Config {
    /// Channels of an image. Height and width must be at least 16, since the four poolings halve them.
    pub inputs: usize,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first block.
    #[config(default = 64)]
    pub width: usize,
    /// Blocks; each has twice the channels of the one before.
    #[config(default = 4)]
    pub blocks: usize,
}

impl ResNet12Config {
    /// The network on `device`.
    pub fn init(&self, device: &Device) -> ResNet12 {
        let layer = |channels: [usize; 2], kernel| Layer {
            conv: conv(channels, kernel, 1, device),
            norm: BatchNormConfig::new(channels[1]).init(device),
        };
        let (mut inputs, mut blocks) = (self.inputs, Vec::new());
        for channels in (0..self.blocks).map(|block| self.width << block) {
            blocks.push(Block {
                layers: [inputs, channels, channels].map(|from| layer([from, channels], 3)).into(),
                shortcut: layer([inputs, channels], 1),
                pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            });
            inputs = channels;
        }
        ResNet12 { blocks, fc: LinearConfig::new(inputs, self.classes).init(device) }
    }
}

impl ResNet12 {
    /// The logits of samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, channels of the last block]`
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
        self.head(self.body(input, &mut Mode::Train))
    }

    pub(crate) fn body(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<2> {
        let blocks = self.blocks.iter();
        mean_pixel(blocks.fold(input, |hidden, block| block.forward(hidden, mode)))
    }
}

impl Block {
    fn forward(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let mut hidden = input.clone();
        for (at, layer) in self.layers.iter().enumerate() {
            if at > 0 {
                hidden = activation::leaky_relu(hidden, SLOPE);
            }
            hidden = layer.forward(hidden, mode);
        }
        let added = hidden + self.shortcut.forward(input, mode);
        self.pool.forward(activation::leaky_relu(added, SLOPE))
    }
}

impl Layer {
    fn forward(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        self.norm.forward_with(self.conv.forward(input), mode)
    }
}
