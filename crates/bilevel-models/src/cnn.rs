//! A plain convolutional network for small images.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};

/// Convolutions, each with ReLU and 2x2 max-pooling, a dense layer with ReLU, and a linear layer `fc`.
///
/// There is no normalisation and no dropout: the output for a sample does not depend on the other samples, not even in
/// training. The defaults, 5x5 convolutions with 32 and 64 channels and a dense layer of width 128, are a common choice
/// for MNIST. "Penalty method for inversion-free deep bilevel optimization" (Mehra and Hamm, 2021) also learns sample
/// weights with convolutional networks; their layers are given in a supplement that we have not seen.
#[derive(Module, Debug)]
pub struct Cnn {
    convs: Vec<Conv2d>,
    pool: MaxPool2d,
    dense: Linear,
    fc: Linear,
}

/// Builds a [`Cnn`], with Burn's default initialisation (uniform, Kaiming).
#[derive(Config, Debug)]
pub struct CnnConfig {
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Channels of each convolution. The pooling after it halves height and width, rounding down.
    #[config(default = "vec![32, 64]")]
    pub channels: Vec<usize>,
    /// Height and width of the convolutions.
    #[config(default = 5)]
    pub kernel: usize,
    /// Width of the dense layer.
    #[config(default = 128)]
    pub hidden: usize,
}

impl CnnConfig {
    /// The minimal height and width of an image, so that a pixel is left after the poolings.
    pub fn least_side(&self) -> usize {
        1_usize.checked_shl(self.channels.len() as u32).unwrap_or(usize::MAX)
    }

    /// The network on `device`.
    pub fn init(&self, device: &Device) -> Cnn {
        let [mut inputs, mut height, mut width] = self.image;
        let mut convs = Vec::with_capacity(self.channels.len());
        for &outputs in &self.channels {
            convs.push(
                Conv2dConfig::new([inputs, outputs], [self.kernel; 2])
                    .with_padding(PaddingConfig2d::Same)
                    .init(device),
            );
            (inputs, height, width) = (outputs, height / 2, width / 2);
        }
        Cnn {
            convs,
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dense: LinearConfig::new(inputs * height * width, self.hidden).init(device),
            fc: LinearConfig::new(self.hidden, self.classes).init(device),
        }
    }
}

impl Cnn {
    /// The input of `fc`: the dense layer.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, hidden]`
    pub fn features(&self, input: Tensor<4>) -> Tensor<2> {
        let mut hidden = input;
        for conv in &self.convs {
            hidden = self.pool.forward(activation::relu(conv.forward(hidden)));
        }
        activation::relu(self.dense.forward(hidden.flatten(1, 3)))
    }

    /// The logits of samples with these `features`.
    ///
    /// # Shapes
    /// - features: `[n, hidden]`
    /// - output: `[n, classes]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features)
    }

    /// The logits.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`
    /// - output: `[n, classes]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        self.head(self.features(input))
    }
}
