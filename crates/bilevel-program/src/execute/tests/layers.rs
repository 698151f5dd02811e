//! A call of every operation of layers, and of activations, that is recorded as one.

use burn::backend::ir::HandleKind;
use burn::backend::ops::{
    AttentionModuleOptions, ConvOptions, ConvTransposeOptions, DeformConvOptions, InterpolateMode,
    InterpolateOptions, UnfoldOptions,
};
use burn::backend::{Backend, IntDType};

use super::cases::{Cases, keep};

const I: IntDType = IntDType::I64;

fn conv<const N: usize>() -> ConvOptions<N> {
    ConvOptions::new([1; N], [1; N], [1; N], 1)
}

fn transposed<const N: usize>() -> ConvTransposeOptions<N> {
    ConvTransposeOptions::new([1; N], [1; N], [0; N], [1; N], 1)
}

fn deformed() -> DeformConvOptions<2> {
    DeformConvOptions::new([1, 1], [1, 1], [1, 1], 1, 1)
}

pub(super) fn activation<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Float:
        B::relu(c.f(&[3, 4]));
        B::gelu(c.f(&[3, 4]));
        B::sigmoid(c.f(&[3, 4]));
        B::log_sigmoid(c.f(&[3, 4]));
        B::relu_backward(c.p(&[3, 4]), c.f(&[3, 4]));
        B::gelu_backward(c.p(&[3, 4]), c.f(&[3, 4]));
        B::sigmoid_backward(c.p(&[3, 4]), c.f(&[3, 4]));
        B::log_sigmoid_backward(c.p(&[3, 4]), c.f(&[3, 4]));
        B::leaky_relu(c.f(&[3, 4]), 0.1.into());
        B::prelu(c.f(&[3, 4]), c.f(&[3, 4]));
        B::hard_sigmoid(c.f(&[3, 4]), 0.2.into(), 0.5.into());
        B::softmax(c.f(&[3, 4]), 1);
        B::log_softmax(c.f(&[3, 4]), 1);
        B::softmin(c.f(&[3, 4]), 1);
    );
}

pub(super) fn module<B: Backend>(c: &mut Cases<'_, B>) {
    keep!(c, Float:
        B::batch_norm(c.f(&[2, 3, 4]), c.f(&[3]), c.f(&[3]), c.f(&[3]), c.p(&[3]), 1e-3);
        B::layer_norm(c.f(&[2, 4]), c.f(&[4]), Some(c.f(&[4])), 1e-3);
        B::layer_norm(c.f(&[2, 4]), c.f(&[4]), None, 1e-3);
        B::embedding(c.f(&[5, 3]), c.at(&[4, 0, 4, 2], &[2, 2]));
        B::embedding_backward(c.f(&[5, 3]), c.f(&[2, 2, 3]), c.at(&[4, 0, 4, 2], &[2, 2]));
        B::linear(c.f(&[2, 4]), c.f(&[4, 3]), Some(c.f(&[3])));
        B::linear(c.f(&[2, 4]), c.f(&[4, 3]), None);
        B::linear_x_backward(c.f(&[4, 3]), c.f(&[2, 3]));
        B::linear_weight_backward(c.f(&[2, 4]), c.f(&[2, 3]));
        B::linear_bias_backward(c.f(&[2, 3]));
        B::conv1d(c.f(&[2, 2, 5]), c.f(&[3, 2, 3]), Some(c.f(&[3])), conv());
        B::conv1d(c.f(&[2, 2, 5]), c.f(&[3, 2, 3]), None, conv());
        B::conv1d_x_backward(c.f(&[2, 2, 5]), c.f(&[3, 2, 3]), c.f(&[2, 3, 5]), conv());
        B::conv1d_weight_backward(c.f(&[2, 2, 5]), c.f(&[3, 2, 3]), c.f(&[2, 3, 5]), conv());
        B::conv1d_bias_backward(c.f(&[2, 2, 5]), c.f(&[3]), c.f(&[2, 3, 5]));
        B::conv_transpose1d(c.f(&[2, 2, 5]), c.f(&[2, 3, 3]), Some(c.f(&[3])), transposed());
        B::conv_transpose1d_weight_backward(c.f(&[2, 2, 5]), c.f(&[2, 3, 3]), c.f(&[2, 3, 5]), transposed());
        B::conv_transpose1d_bias_backward(c.f(&[2, 2, 5]), c.f(&[3]), c.f(&[2, 3, 5]));
        B::adaptive_avg_pool1d(c.f(&[2, 2, 5]), 3);
        B::adaptive_avg_pool1d_backward(c.f(&[2, 2, 5]), c.f(&[2, 2, 3]));
        B::avg_pool1d(c.f(&[2, 2, 5]), 3, 2, 1, false, false);
        B::avg_pool1d_backward(c.f(&[2, 2, 5]), c.f(&[2, 2, 3]), 3, 2, 1, false, false);
        B::max_pool1d(c.f(&[2, 2, 5]), 3, 2, 1, 1, false);
        B::conv2d(c.f(&[2, 2, 5, 5]), c.f(&[3, 2, 3, 3]), Some(c.f(&[3])), conv());
        B::conv2d(c.f(&[2, 2, 5, 5]), c.f(&[3, 2, 3, 3]), None, conv());
        B::conv2d_x_backward(c.f(&[2, 2, 5, 5]), c.f(&[3, 2, 3, 3]), c.f(&[2, 3, 5, 5]), conv());
        B::conv2d_weight_backward(c.f(&[2, 2, 5, 5]), c.f(&[3, 2, 3, 3]), c.f(&[2, 3, 5, 5]), conv());
        B::conv2d_bias_backward(c.f(&[2, 2, 5, 5]), c.f(&[3]), c.f(&[2, 3, 5, 5]));
        B::conv_transpose2d(c.f(&[2, 2, 5, 5]), c.f(&[2, 3, 3, 3]), Some(c.f(&[3])), transposed());
        B::conv_transpose2d_weight_backward(c.f(&[2, 2, 5, 5]), c.f(&[2, 3, 3, 3]), c.f(&[2, 3, 5, 5]), transposed());
        B::conv_transpose2d_bias_backward(c.f(&[2, 2, 5, 5]), c.f(&[3]), c.f(&[2, 3, 5, 5]));
        B::adaptive_avg_pool2d(c.f(&[2, 2, 5, 5]), [3, 2]);
        B::adaptive_avg_pool2d_backward(c.f(&[2, 2, 5, 5]), c.f(&[2, 2, 3, 2]));
        B::avg_pool2d(c.f(&[2, 2, 5, 5]), [2, 3], [2, 1], [1, 1], false, false);
        B::avg_pool2d_backward(c.f(&[2, 2, 5, 5]), c.f(&[2, 2, 3, 5]), [2, 3], [2, 1], [1, 1], false, false);
        B::max_pool2d(c.f(&[2, 2, 5, 5]), [2, 3], [2, 1], [1, 1], [1, 1], false);
        B::conv3d(c.f(&[2, 2, 5, 5, 5]), c.f(&[3, 2, 3, 3, 3]), Some(c.f(&[3])), conv());
        B::conv3d(c.f(&[2, 2, 5, 5, 5]), c.f(&[3, 2, 3, 3, 3]), None, conv());
        B::conv3d_x_backward(c.f(&[2, 2, 5, 5, 5]), c.f(&[3, 2, 3, 3, 3]), c.f(&[2, 3, 5, 5, 5]), conv());
        B::conv3d_weight_backward(c.f(&[2, 2, 5, 5, 5]), c.f(&[3, 2, 3, 3, 3]), c.f(&[2, 3, 5, 5, 5]), conv());
        B::conv3d_bias_backward(c.f(&[2, 2, 5, 5, 5]), c.f(&[3]), c.f(&[2, 3, 5, 5, 5]));
        B::conv_transpose3d(c.f(&[2, 2, 5, 5, 5]), c.f(&[2, 3, 3, 3, 3]), Some(c.f(&[3])), transposed());
        B::conv_transpose3d_weight_backward(c.f(&[2, 2, 5, 5, 5]), c.f(&[2, 3, 3, 3, 3]), c.f(&[2, 3, 5, 5, 5]), transposed());
        B::conv_transpose3d_bias_backward(c.f(&[2, 2, 5, 5, 5]), c.f(&[3]), c.f(&[2, 3, 5, 5, 5]));
        B::adaptive_avg_pool3d(c.f(&[2, 2, 5, 5, 5]), [3, 2, 2]);
        B::adaptive_avg_pool3d_backward(c.f(&[2, 2, 5, 5, 5]), c.f(&[2, 2, 3, 2, 2]));
        B::unfold4d(c.f(&[1, 2, 5, 5]), [2, 2], UnfoldOptions::new([1, 1], [0, 0], [1, 1]));
    );
    let x = c.f(&[2, 2, 5]);
    let pooled = B::max_pool1d_with_indices(x.clone(), 3, 2, 1, 1, false, I);
    keep!(c, Int: pooled.indices.clone());
    let grad = c.f(&[2, 2, 3]);
    let back = B::max_pool1d_with_indices_backward(x, 3, 2, 1, 1, false, grad, pooled.indices);
    keep!(c, Float: pooled.output; back.x_grad);
    let x = c.f(&[2, 2, 5, 5]);
    let pooled = B::max_pool2d_with_indices(x.clone(), [2, 3], [2, 1], [1, 1], [1, 1], false, I);
    keep!(c, Int: pooled.indices.clone());
    let grad = c.f(&[2, 2, 3, 5]);
    let back = B::max_pool2d_with_indices_backward(
        x,
        [2, 3],
        [2, 1],
        [1, 1],
        [1, 1],
        false,
        grad,
        pooled.indices,
    );
    keep!(c, Float: pooled.output; back.x_grad);
    let (x, offset, weight) = (c.f(&[1, 2, 5, 5]), c.f(&[1, 18, 5, 5]), c.f(&[3, 2, 3, 3]));
    let (mask, bias, grad) = (c.p(&[1, 9, 5, 5]), c.f(&[3]), c.f(&[1, 3, 5, 5]));
    let options = deformed();
    let back = B::deform_conv2d_backward(x, offset, weight, Some(mask), Some(bias), grad, options);
    keep!(c, Float: back.x_grad; back.offset_grad; back.weight_grad);
    keep!(c, Float: back.mask_grad.expect("of a mask"); back.bias_grad.expect("of a bias"));
    let (x, offset, weight) = (c.f(&[1, 2, 5, 5]), c.f(&[1, 18, 5, 5]), c.f(&[3, 2, 3, 3]));
    let (mask, bias) = (c.p(&[1, 9, 5, 5]), c.f(&[3]));
    keep!(c, Float: B::deform_conv2d(x, offset, weight, Some(mask), Some(bias), deformed()));
    let shape = [1, 2, 3, 4];
    let (query, key, value) = (c.f(&shape), c.f(&shape), c.f(&shape));
    let (mask, bias) = (c.b(&[1, 2, 3, 3]), c.f(&[1, 2, 3, 3]));
    let options = AttentionModuleOptions { scale: Some(0.3), softcap: None, is_causal: true };
    let plain = AttentionModuleOptions::default();
    keep!(c, Float:
        B::attention(query.clone(), key.clone(), value.clone(), None, None, options);
        B::attention(query, key, value, Some(mask), Some(bias), plain);
    );
    let bilinear = InterpolateOptions::new(InterpolateMode::Bilinear);
    let nearest = InterpolateOptions::new(InterpolateMode::Nearest);
    let (x, grad) = (c.f(&[1, 2, 4, 4]), c.f(&[1, 2, 8, 8]));
    keep!(c, Float:
        B::interpolate(x.clone(), [6, 7], bilinear);
        B::interpolate_backward(x, grad, [8, 8], nearest);
    );
}
