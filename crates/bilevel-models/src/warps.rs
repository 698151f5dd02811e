//! Layers that precondition the lower steps of the layers around them.

use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::{Device, Tensor};

/// A convolution for each block of a [`ConvNet`](crate::ConvNet), which lower steps do not change: they shape the
/// gradients of the layers before them. All are initialised to the identity.
///
/// | kind | kernel | where | source |
/// |---|---|---|---|
/// | linear | 1x1 | behind the convolution of a block | T-Net: Y. Lee and S. Choi, "Gradient-based meta-learning with learned layerwise metric and subspace", 2018 |
/// | convolutions | 3x3 | behind the block | WarpGrad: S. Flennerhag et al., "Meta-learning with warped gradient descent", 2020 |
#[derive(Module, Debug)]
pub struct Warps {
    layers: Vec<Conv2d>,
    within: bool,
}

/// Builds [`Warps`].
#[derive(Config, Debug)]
pub struct WarpsConfig {
    /// Channels of each block.
    pub channels: usize,
    /// Blocks of the network.
    pub blocks: usize,
    /// Height and width of the kernels.
    pub kernel: usize,
    /// Whether they are within a block, after its convolution.
    pub within: bool,
}

impl WarpsConfig {
    /// Linear maps of the channels of each pixel, after each convolution.
    pub fn linear(channels: usize, blocks: usize) -> Self {
        Self::new(channels, blocks, 1, true)
    }

    /// 3x3 convolutions, after each block.
    pub fn convolutions(channels: usize, blocks: usize) -> Self {
        Self::new(channels, blocks, 3, false)
    }

    /// The layers on `device`.
    pub fn init(&self, device: &Device) -> Warps {
        let (channels, kernel) = (self.channels, self.kernel);
        let identity = || {
            let middle = kernel / 2;
            let one = Tensor::<2>::eye(channels, device).reshape([channels, channels, 1, 1]);
            let place = [0..channels, 0..channels, middle..middle + 1, middle..middle + 1];
            Tensor::zeros([channels, channels, kernel, kernel], device).slice_assign(place, one)
        };
        let layer = |_| {
            let mut layer = Conv2dConfig::new([channels; 2], [kernel; 2])
                .with_padding(PaddingConfig2d::Same)
                .with_bias(false)
                .init(device);
            layer.weight = Param::from_tensor(identity());
            layer
        };
        Warps { layers: (0..self.blocks).map(layer).collect(), within: self.within }
    }
}

impl Warps {
    /// The layer after the convolution of a block.
    pub(crate) fn within(&self, block: usize, hidden: Tensor<4>) -> Tensor<4> {
        if self.within { self.layers[block].forward(hidden) } else { hidden }
    }

    /// The layer after a block.
    pub(crate) fn behind(&self, block: usize, hidden: Tensor<4>) -> Tensor<4> {
        if self.within { hidden } else { self.layers[block].forward(hidden) }
    }
}
