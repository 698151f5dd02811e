//! Residual networks for small images.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, activation};

use crate::layers::{conv, mean_pixel};
use crate::{BatchNorm, BatchNormConfig, Mode};

/// A 3x3 convolution, stages of residual blocks, the mean over all pixels, and a linear layer `fc`.
///
/// Each later stage halves height and width, rounding up, and has twice the channels. A block is
/// `relu(u + norm(conv(... relu(norm(conv(u))))))`; if it changes the shape, u first passes through a 1x1
/// convolution and a normalisation.
///
/// | network | blocks | width | block | parameters for 3 channels and 10 classes |
/// |---|---|---|---|---|
/// | `resnet20` | 3, 3, 3 | 16 | basic | 272,474 |
/// | `resnet32` | 5, 5, 5 | 16 | basic | 466,906 |
/// | `resnet18` | 2, 2, 2, 2 | 64 | basic | 11,173,962 |
/// | `resnet34` | 3, 4, 6, 3 | 64 | basic | 21,282,122 |
/// | `resnet50` | 3, 4, 6, 3 | 64 | bottleneck | 23,520,842 |
/// | `resnet101` | 3, 4, 23, 3 | 64 | bottleneck | 42,512,970 |
/// | `resnet152` | 3, 8, 36, 3 | 64 | bottleneck | 58,156,618 |
///
/// Source: K. He et al., "Deep residual learning for image recognition", 2016. Differences from the source:
/// 1. For a change of shape, the networks of 6n + 2 layers (Section 4.2) of the source subsample u and pad it
///    with zeros (option A), which has no parameters: ResNet-20 then has 269,722 parameters, and ResNet-32
///    464,154.
/// 2. The networks of four stages (Table 1) are for images of 32x32 here: the stem is a 3x3 convolution
///    without max-pooling, and a bottleneck block has its stride in the 3x3 convolution. The parameter counts
///    are those published for such networks.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: Normalised,
    blocks: Vec<Block>,
    fc: Linear,
}

#[derive(Module, Debug)]
struct Block {
    layers: Vec<Normalised>,
    shortcut: Option<Normalised>,
}

/// A convolution and its normalisation, whose beta acts as the bias.
#[derive(Module, Debug)]
struct Normalised {
    conv: Conv2d,
    norm: BatchNorm,
}

/// The layers of a residual block in a stage of c channels.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Residual {
    /// Two 3x3 convolutions to c channels.
    Basic,
    /// A 1x1 and a 3x3 convolution to c channels, and a 1x1 convolution to 4 c.
    Bottleneck,
}

/// Builds a [`ResNet`]. Convolutions are initialised from a normal distribution with variance `2 / fan_in`
/// (K. He et al., "Delving deep into rectifiers", 2015), `fc` with Burn's default.
#[derive(Config, Debug)]
pub struct ResNetConfig {
    /// Channels of an image. Height and width are arbitrary.
    pub inputs: usize,
    /// Number of classes.
    pub classes: usize,
    /// Residual blocks of each stage.
    #[config(default = "vec![3; 3]")]
    pub blocks: Vec<usize>,
    /// Channels of the first stage.
    #[config(default = 16)]
    pub width: usize,
    /// The layers of a block.
    #[config(default = "Residual::Basic")]
    pub residual: Residual,
    /// The initial value of gamma in the last normalisation of a block. With 0 every block starts as its
    /// shortcut, which stabilises the first steps of deep networks: P. Goyal et al., "Accurate, large
    /// minibatch SGD", 2017, Section 5.1.
    #[config(default = 1.0)]
    pub last_gamma: f64,
}

impl ResNetConfig {
    /// ResNet-20.
    pub fn resnet20(inputs: usize, classes: usize) -> Self {
        Self::new(inputs, classes)
    }

    /// ResNet-32.
    pub fn resnet32(inputs: usize, classes: usize) -> Self {
        Self::new(inputs, classes).with_blocks(vec![5; 3])
    }

    /// ResNet-18.
    pub fn resnet18(inputs: usize, classes: usize) -> Self {
        Self::new(inputs, classes).with_blocks(vec![2; 4]).with_width(64).with_last_gamma(0.0)
    }

    /// ResNet-34.
    pub fn resnet34(inputs: usize, classes: usize) -> Self {
        Self::resnet18(inputs, classes).with_blocks(vec![3, 4, 6, 3])
    }

    /// ResNet-50.
    pub fn resnet50(inputs: usize, classes: usize) -> Self {
        Self::resnet34(inputs, classes).with_residual(Residual::Bottleneck)
    }

    /// ResNet-101.
    pub fn resnet101(inputs: usize, classes: usize) -> Self {
        Self::resnet50(inputs, classes).with_blocks(vec![3, 4, 23, 3])
    }

    /// ResNet-152.
    pub fn resnet152(inputs: usize, classes: usize) -> Self {
        Self::resnet50(inputs, classes).with_blocks(vec![3, 8, 36, 3])
    }

    /// The network on `device`.
    pub fn init(&self, device: &Device) -> ResNet {
        let (mut inputs, mut channels) = (self.width, self.width);
        let stem = Normalised::new([self.inputs, inputs], (3, 1), 1.0, device);
        let mut blocks = Vec::with_capacity(self.blocks.iter().sum());
        for (stage, &count) in self.blocks.iter().enumerate() {
            for at in 0..count {
                let stride = if stage > 0 && at == 0 { 2 } else { 1 };
                let outputs = self.residual.outputs(channels);
                let reshapes = stride > 1 || inputs != outputs;
                blocks.push(Block {
                    layers: self.layers([inputs, channels], stride, device),
                    shortcut: reshapes
                        .then(|| Normalised::new([inputs, outputs], (1, stride), 1.0, device)),
                });
                inputs = outputs;
            }
            channels *= 2;
        }
        ResNet { stem, blocks, fc: LinearConfig::new(inputs, self.classes).init(device) }
    }

    /// The layers of a block, `[inputs, channels of the stage]`.
    fn layers(
        &self,
        [inputs, channels]: [usize; 2],
        stride: usize,
        device: &Device,
    ) -> Vec<Normalised> {
        let layer = |channels, kernel, gamma| Normalised::new(channels, kernel, gamma, device);
        let (same, last) = ([channels; 2], self.last_gamma);
        match self.residual {
            Residual::Basic => {
                vec![layer([inputs, channels], (3, stride), 1.0), layer(same, (3, 1), last)]
            }
            Residual::Bottleneck => vec![
                layer([inputs, channels], (1, 1), 1.0),
                layer(same, (3, stride), 1.0),
                layer([channels, self.residual.outputs(channels)], (1, 1), last),
            ],
        }
    }
}

impl Residual {
    fn outputs(self, channels: usize) -> usize {
        match self {
            Self::Basic => channels,
            Self::Bottleneck => 4 * channels,
        }
    }
}

impl ResNet {
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
        let mut hidden = activation::relu(self.stem.forward(input, mode));
        for block in &self.blocks {
            hidden = block.forward(hidden, mode);
        }
        mean_pixel(hidden)
    }
}

impl Block {
    fn forward(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        let mut hidden = input.clone();
        for (at, layer) in self.layers.iter().enumerate() {
            if at > 0 {
                hidden = activation::relu(hidden);
            }
            hidden = layer.forward(hidden, mode);
        }
        let added = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input, mode),
            None => input,
        };
        activation::relu(hidden + added)
    }
}

impl Normalised {
    fn new(
        channels: [usize; 2],
        (kernel, stride): (usize, usize),
        gamma: f64,
        device: &Device,
    ) -> Self {
        let norm = BatchNormConfig::new(channels[1]).with_gamma(gamma);
        Self { conv: conv(channels, kernel, stride, device), norm: norm.init(device) }
    }

    fn forward(&self, input: Tensor<4>, mode: &mut Mode<'_>) -> Tensor<4> {
        self.norm.forward_with(self.conv.forward(input), mode)
    }
}
