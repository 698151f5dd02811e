//! The convolutional network of few-shot learning.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};

use crate::{BatchNorm, BatchNormConfig, Mode, Warps};

/// Blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 max-pooling, then a linear head.
///
/// Source: O. Vinyals et al., "Matching networks for one shot learning", 2016.
#[derive(Module, Debug)]
pub struct ConvNet {
    blocks: Vec<Block>,
    head: Linear,
}

#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    norm: BatchNorm,
    pool: MaxPool2d,
}

/// Builds a [`ConvNet`].
#[derive(Config, Debug)]
pub struct ConvNetConfig {
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Channels of each block. Every block halves height and width, rounding down.
    #[config(default = "vec![64; 4]")]
    pub channels: Vec<usize>,
}

impl ConvNetConfig {
    /// The network on `device`.
    pub fn init(&self, device: &Device) -> ConvNet {
        let [mut inputs, mut height, mut width] = self.image;
        let mut blocks = Vec::with_capacity(self.channels.len());
        for &outputs in &self.channels {
            blocks.push(Block {
                conv: Conv2dConfig::new([inputs, outputs], [3, 3])
                    .with_padding(PaddingConfig2d::Same)
                    .init(device),
                norm: BatchNormConfig::new(outputs).init(device),
                pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            });
            (inputs, height, width) = (outputs, height / 2, width / 2);
        }
        ConvNet {
            blocks,
            head: LinearConfig::new(inputs * height * width, self.classes).init(device),
        }
    }
}

impl ConvNet {
    /// The input of the head: the pixels of the last block.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, channels * height * width of the last block]`
    pub fn features(&self, input: Tensor<4>) -> Tensor<2> {
        self.body(input, &mut Mode::Train)
    }

    /// The logits of samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, channels * height * width of the last block]`
    /// - output: `[n, classes]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
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

    /// The logits, in training mode, with the layers of `warps` in between: one for each block, with as many channels.
    /// Shapes are those of [`Self::forward`].
    pub fn forward_warped(&self, input: Tensor<4>, warps: &Warps) -> Tensor<2> {
        self.head(self.pass(input, &mut Mode::Train, Some(warps)))
    }

    pub(crate) fn body(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<2> {
        self.pass(input, mode, None)
    }

    fn pass(&self, input: Tensor<4>, mode: &mut Mode<'_>, warps: Option<&Warps>) -> Tensor<2> {
        let mut hidden = input;
        for (at, block) in self.blocks.iter().enumerate() {
            let mut linear = block.conv.forward(hidden);
            if let Some(warps) = warps {
                linear = warps.within(at, linear);
            }
            let normal = block.norm.forward_with(linear, mode);
            hidden = block.pool.forward(activation::relu(normal));
            if let Some(warps) = warps {
                hidden = warps.behind(at, hidden);
            }
        }
        hidden.flatten(1, 3)
    }
}
