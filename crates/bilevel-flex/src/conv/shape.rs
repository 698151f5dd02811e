//! The sizes of a convolution.

use burn::backend::{TensorMetadata, ops::ConvOptions};
use burn_flex::FlexTensor;

/// The sizes of a convolution; pairs are of height and width.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub images: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub x: [usize; 2],
    pub y: [usize; 2],
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
}

impl Shape {
    /// `None` for groups, asymmetric padding, mixed element types, and where y or a sum is empty.
    pub(super) fn new(
        x: &FlexTensor,
        weight: &FlexTensor,
        options: &ConvOptions<2>,
    ) -> Option<Self> {
        let ConvOptions { stride, padding, dilation, groups } = *options;
        let padding = padding.map(|(before, _)| before);
        let [images, inputs, height, width] = x.shape().dims();
        let [outputs, weight_inputs, kernel_height, kernel_width] = weight.shape().dims();
        let (x_size, kernel) = ([height, width], [kernel_height, kernel_width]);
        let known = groups == 1
            && !options.is_asymmetric()
            && x.dtype() == weight.dtype()
            && inputs == weight_inputs;
        if !known || [images, inputs, outputs, height, width].contains(&0) || kernel.contains(&0) {
            return None;
        }
        let size = |i: usize| {
            let room = x_size[i] + 2 * padding[i];
            Some(room.checked_sub(dilation[i] * (kernel[i] - 1) + 1)? / stride[i] + 1)
        };
        let y = [size(0)?, size(1)?];
        Some(Self { images, inputs, outputs, x: x_size, y, kernel, stride, padding, dilation })
    }

    /// `self`, if `output_grad` is a gradient in y.
    pub(super) fn with(self, x: &FlexTensor, output_grad: &FlexTensor) -> Option<Self> {
        let [height, width] = self.y;
        let fits = output_grad.shape().dims() == [self.images, self.outputs, height, width];
        (fits && output_grad.dtype() == x.dtype()).then_some(self)
    }

    /// Elements of x per image.
    pub(super) fn x_len(&self) -> usize {
        self.inputs * self.x[0] * self.x[1]
    }

    /// Elements of y per image.
    pub(super) fn y_len(&self) -> usize {
        self.outputs * self.y[0] * self.y[1]
    }

    /// Weights per output.
    pub(super) fn depth(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Whether the columns of x are x itself.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0]
    }

    /// Whether a product over this many elements of an interleaved x is so short that products with columns
    /// are faster (measured). This is always the case if no columns need to be built.
    pub(super) fn is_shallow(&self, product: usize) -> bool {
        self.is_pointwise() || product < 24
    }
}
