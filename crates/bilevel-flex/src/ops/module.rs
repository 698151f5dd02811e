//! Neural-network operations.

use burn::backend::IntDType;
use burn::backend::ops::{
    AttentionModuleOptions, ConvOptions, ConvTransposeOptions, DeformConv2dBackward,
    DeformConvOptions, InterpolateOptions, MaxPool2dBackward, MaxPool2dWithIndices, ModuleOps,
};
use burn_flex::Flex;

use super::T;
use crate::pool::{self, Windows};
use crate::{FastFlex, conv, gather};

impl ModuleOps<Self> for FastFlex {
    fn deform_conv2d_backward(
        x: T,
        offset: T,
        weight: T,
        mask: Option<T>,
        bias: Option<T>,
        output_grad: T,
        options: DeformConvOptions<2>,
    ) -> DeformConv2dBackward<Self> {
        let grads =
            Flex::deform_conv2d_backward(x, offset, weight, mask, bias, output_grad, options);
        DeformConv2dBackward::new(
            grads.x_grad,
            grads.offset_grad,
            grads.weight_grad,
            grads.mask_grad,
            grads.bias_grad,
        )
    }

    fn conv2d(x: T, weight: T, bias: Option<T>, options: ConvOptions<2>) -> T {
        conv::conv2d(&x, &weight, bias.as_ref(), &options)
            .unwrap_or_else(|| Flex::conv2d(x, weight, bias, options))
    }

    fn conv2d_x_backward(x: T, weight: T, output_grad: T, options: ConvOptions<2>) -> T {
        conv::conv2d_x_backward(&x, &weight, &output_grad, &options)
            .unwrap_or_else(|| Flex::conv2d_x_backward(x, weight, output_grad, options))
    }

    fn conv2d_weight_backward(x: T, weight: T, output_grad: T, options: ConvOptions<2>) -> T {
        conv::conv2d_weight_backward(&x, &weight, &output_grad, &options)
            .unwrap_or_else(|| Flex::conv2d_weight_backward(x, weight, output_grad, options))
    }

    fn conv2d_bias_backward(x: T, bias: T, output_grad: T) -> T {
        conv::conv2d_bias_backward(&output_grad)
            .unwrap_or_else(|| Flex::conv2d_bias_backward(x, bias, output_grad))
    }

    fn max_pool2d(
        x: T,
        kernel_size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        ceil_mode: bool,
    ) -> T {
        let windows = Windows { kernel_size, stride, padding, dilation, ceil_mode };
        pool::max_pool2d(&x, &windows).unwrap_or_else(|| {
            Flex::max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
        })
    }

    fn max_pool2d_with_indices(
        x: T,
        kernel_size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        ceil_mode: bool,
        indices_dtype: IntDType,
    ) -> MaxPool2dWithIndices<Self> {
        let windows = Windows { kernel_size, stride, padding, dilation, ceil_mode };
        if let Some((greatest, indices)) =
            pool::max_pool2d_with_indices(&x, &windows, indices_dtype)
        {
            return MaxPool2dWithIndices::new(greatest, indices);
        }
        let pooled = Flex::max_pool2d_with_indices(
            x,
            kernel_size,
            stride,
            padding,
            dilation,
            ceil_mode,
            indices_dtype,
        );
        MaxPool2dWithIndices::new(pooled.output, pooled.indices)
    }

    fn max_pool2d_with_indices_backward(
        x: T,
        kernel_size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        ceil_mode: bool,
        output_grad: T,
        indices: T,
    ) -> MaxPool2dBackward<Self> {
        if let Some(grad) = gather::max_pool2d_backward(&x, &indices, &output_grad) {
            return MaxPool2dBackward::new(grad);
        }
        let grad = Flex::max_pool2d_with_indices_backward(
            x,
            kernel_size,
            stride,
            padding,
            dilation,
            ceil_mode,
            output_grad,
            indices,
        );
        MaxPool2dBackward::new(grad.x_grad)
    }

    forward! {
        fn conv1d(x: T, weight: T, bias: Option<T>, options: ConvOptions<1>) -> T;
        fn deform_conv2d(
            x: T, offset: T, weight: T, mask: Option<T>, bias: Option<T>, options:
            DeformConvOptions<2>,
        ) -> T;
        fn conv3d(x: T, weight: T, bias: Option<T>, options: ConvOptions<3>) -> T;
        fn conv_transpose1d(
            x: T, weight: T, bias: Option<T>, options: ConvTransposeOptions<1>,
        ) -> T;
        fn conv_transpose2d(
            x: T, weight: T, bias: Option<T>, options: ConvTransposeOptions<2>,
        ) -> T;
        fn conv_transpose3d(
            x: T, weight: T, bias: Option<T>, options: ConvTransposeOptions<3>,
        ) -> T;
        fn avg_pool2d(
            x: T, kernel_size: [usize; 2], stride: [usize; 2], padding: [usize; 2],
            count_include_pad: bool, ceil_mode: bool,
        ) -> T;
        fn avg_pool2d_backward(
            x: T, grad: T, kernel_size: [usize; 2], stride: [usize; 2], padding: [usize; 2],
            count_include_pad: bool, ceil_mode: bool,
        ) -> T;
        fn adaptive_avg_pool2d(x: T, output_size: [usize; 2]) -> T;
        fn adaptive_avg_pool2d_backward(x: T, grad: T) -> T;
        fn adaptive_avg_pool3d(x: T, output_size: [usize; 3]) -> T;
        fn adaptive_avg_pool3d_backward(x: T, grad: T) -> T;
        fn interpolate(x: T, output_size: [usize; 2], options: InterpolateOptions) -> T;
        fn interpolate_backward(
            x: T, grad: T, output_size: [usize; 2], options: InterpolateOptions,
        ) -> T;
        fn attention(
            query: T, key: T, value: T, mask: Option<T>, attn_bias: Option<T>, options:
            AttentionModuleOptions,
        ) -> T;
        fn embedding(weights: T, indices: T) -> T;
        fn layer_norm(tensor: T, gamma: T, beta: Option<T>, epsilon: f64) -> T;
        fn embedding_backward(weights: T, output_grad: T, indices: T) -> T;
    }
}
