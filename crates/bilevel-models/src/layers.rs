//! Building blocks of residual networks.

use std::f64::consts::SQRT_2;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

/// A square convolution without bias, `[inputs, outputs]` channels. Stride 1 keeps height and width, stride 2
/// halves them, rounding up.
///
/// Its weights are initialised from a normal distribution with variance `2 / fan_in`, which preserves the
/// scale of activations through a ReLU: K. He et al., "Delving deep into rectifiers", 2015, Eq. 10. Before a
/// normalisation, smaller weights make the effective step larger, and Burn's default variance is a sixth of
/// this one.
pub(crate) fn conv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let padding = kernel / 2;
    Conv2dConfig::new(channels, [kernel; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .with_initializer(Initializer::KaimingNormal { gain: SQRT_2, fan_out_only: false })
        .init(device)
}

/// A square convolution of each channel by itself, without bias, that keeps height and width at stride 1.
pub(crate) fn depthwise(
    channels: usize,
    kernel: usize,
    dilation: usize,
    stride: usize,
    device: &Device,
) -> Conv2d {
    let padding = dilation * (kernel / 2);
    Conv2dConfig::new([channels; 2], [kernel; 2])
        .with_groups(channels)
        .with_stride([stride; 2])
        .with_dilation([dilation; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .with_initializer(Initializer::KaimingNormal { gain: SQRT_2, fan_out_only: false })
        .init(device)
}

/// The mean over all pixels: `[n, channels, height, width]` to `[n, channels]`.
pub(crate) fn mean_pixel(images: Tensor<4>) -> Tensor<2> {
    images.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2)
}
