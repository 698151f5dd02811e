//! Operations of layers: linear maps, convolutions, pooling, normalisation, attention.

use burn::backend::Backend;
use burn::backend::ir::{HandleKind, ModuleOperationIr as Module};
use burn::backend::ops::UnfoldOptions;

use super::Run;

pub(super) fn module<B: Backend>(operation: &Module, run: &mut Run<'_, B>) {
    match operation {
        Module::BatchNorm(o) => {
            op!(run o: Float = batch_norm(
                float x, float gamma, float beta, float mean, float variance; o.epsilon.elem()))
        }
        Module::LayerNorm(o) => {
            let epsilon = o.epsilon.elem();
            op!(run o: Float = layer_norm(float input, float gamma, optional beta; epsilon))
        }
        Module::Embedding(o) => op!(run o: Float = embedding(float weights, int indices)),
        Module::EmbeddingBackward(o) => {
            op!(run o: Float = embedding_backward(float weights, float out_grad, int indices))
        }
        Module::Linear(o) => op!(run o: Float = linear(float x, float weight, optional bias)),
        Module::LinearXBackward(o) => {
            op!(run o: Float = linear_x_backward(float weight, float output_grad))
        }
        Module::LinearWeightBackward(o) => {
            op!(run o: Float = linear_weight_backward(float x, float output_grad))
        }
        Module::LinearBiasBackward(o) => {
            op!(run o: Float = linear_bias_backward(float output_grad))
        }
        Module::Attention(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = attention(
                float query, float key, float value, optional_bool mask, optional attn_bias;
                options))
        }
        Module::CtcLoss(o) => {
            op!(run o: Float = ctc_loss(
                float log_probs, int targets, int input_lengths, int target_lengths; o.blank))
        }
        Module::CtcLossBackward(o) => {
            op!(run o: Float = ctc_loss_backward(
                float log_probs, int targets, int input_lengths, int target_lengths,
                float grad_loss; o.blank))
        }

        Module::Conv1d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv1d(float x, float weight, optional bias; options))
        }
        Module::Conv1dXBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv1d_x_backward(
                float x, float weight, float output_grad; options))
        }
        Module::Conv1dWeightBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv1d_weight_backward(
                float x, float weight, float output_grad; options))
        }
        Module::Conv1dBiasBackward(o) => {
            op!(run o: Float = conv1d_bias_backward(float x, float bias, float output_grad))
        }
        Module::Conv2d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv2d(float x, float weight, optional bias; options))
        }
        Module::Conv2dXBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv2d_x_backward(
                float x, float weight, float output_grad; options))
        }
        Module::Conv2dWeightBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv2d_weight_backward(
                float x, float weight, float output_grad; options))
        }
        Module::Conv2dBiasBackward(o) => {
            op!(run o: Float = conv2d_bias_backward(float x, float bias, float output_grad))
        }
        Module::Conv3d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv3d(float x, float weight, optional bias; options))
        }
        Module::Conv3dXBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv3d_x_backward(
                float x, float weight, float output_grad; options))
        }
        Module::Conv3dWeightBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv3d_weight_backward(
                float x, float weight, float output_grad; options))
        }
        Module::Conv3dBiasBackward(o) => {
            op!(run o: Float = conv3d_bias_backward(float x, float bias, float output_grad))
        }

        Module::ConvTranspose1d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv_transpose1d(float x, float weight, optional bias; options))
        }
        Module::ConvTranspose1dWeightBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv_transpose1d_weight_backward(
                float x, float weight, float output_grad; options))
        }
        Module::ConvTranspose1dBiasBackward(o) => {
            op!(run o: Float = conv_transpose1d_bias_backward(
                float x, float bias, float output_grad))
        }
        Module::ConvTranspose2d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv_transpose2d(float x, float weight, optional bias; options))
        }
        Module::ConvTranspose2dWeightBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv_transpose2d_weight_backward(
                float x, float weight, float output_grad; options))
        }
        Module::ConvTranspose2dBiasBackward(o) => {
            op!(run o: Float = conv_transpose2d_bias_backward(
                float x, float bias, float output_grad))
        }
        Module::ConvTranspose3d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv_transpose3d(float x, float weight, optional bias; options))
        }
        Module::ConvTranspose3dWeightBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = conv_transpose3d_weight_backward(
                float x, float weight, float output_grad; options))
        }
        Module::ConvTranspose3dBiasBackward(o) => {
            op!(run o: Float = conv_transpose3d_bias_backward(
                float x, float bias, float output_grad))
        }
        Module::DeformableConv2d(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = deform_conv2d(
                float x, float offset, float weight, optional mask, optional bias; options))
        }
        Module::DeformableConv2dBackward(o) => {
            let (x, offset, weight) = (run.float(&o.x), run.float(&o.offset), run.float(&o.weight));
            let out_grad = run.float(&o.out_grad);
            let (mask, bias) = (run.optional(&o.mask), run.optional(&o.bias));
            let options = o.options.clone().into();
            let gradients =
                B::deform_conv2d_backward(x, offset, weight, mask, bias, out_grad, options);
            run.set_float(&o.input_grad, gradients.x_grad);
            run.set_float(&o.offset_grad, gradients.offset_grad);
            run.set_float(&o.weight_grad, gradients.weight_grad);
            if let (Some(out), Some(value)) = (&o.mask_grad, gradients.mask_grad) {
                run.set_float(out, value);
            }
            if let (Some(out), Some(value)) = (&o.bias_grad, gradients.bias_grad) {
                run.set_float(out, value);
            }
        }
        Module::Unfold4d(o) => {
            let (stride, padding) = (o.options.stride, o.options.padding);
            let options = UnfoldOptions::new(stride, padding, o.options.dilation);
            op!(run o: Float = unfold4d(float x; o.kernel_size, options))
        }

        Module::AvgPool1d(o) => {
            op!(run o: Float = avg_pool1d(
                float x; o.kernel_size, o.stride, o.padding, o.count_include_pad, o.ceil_mode))
        }
        Module::AvgPool1dBackward(o) => {
            op!(run o: Float = avg_pool1d_backward(
                float x, float grad;
                o.kernel_size, o.stride, o.padding, o.count_include_pad, o.ceil_mode))
        }
        Module::MaxPool1d(o) => {
            op!(run o: Float = max_pool1d(
                float x; o.kernel_size, o.stride, o.padding, o.dilation, o.ceil_mode))
        }
        Module::MaxPool1dWithIndices(o) => {
            let pooled = B::max_pool1d_with_indices(
                run.float(&o.x),
                o.kernel_size,
                o.stride,
                o.padding,
                o.dilation,
                o.ceil_mode,
                o.out_indices.dtype.into(),
            );
            run.set_float(&o.out, pooled.output);
            run.set_int(&o.out_indices, pooled.indices);
        }
        Module::MaxPool1dWithIndicesBackward(o) => {
            let (x, indices, grad) = (run.float(&o.x), run.int(&o.indices), run.float(&o.grad));
            let gradients = B::max_pool1d_with_indices_backward(
                x,
                o.kernel_size,
                o.stride,
                o.padding,
                o.dilation,
                o.ceil_mode,
                grad,
                indices,
            );
            run.set_float(&o.out, gradients.x_grad);
        }
        Module::AvgPool2d(o) => {
            op!(run o: Float = avg_pool2d(
                float x; o.kernel_size, o.stride, o.padding, o.count_include_pad, o.ceil_mode))
        }
        Module::AvgPool2dBackward(o) => {
            op!(run o: Float = avg_pool2d_backward(
                float x, float grad;
                o.kernel_size, o.stride, o.padding, o.count_include_pad, o.ceil_mode))
        }
        Module::MaxPool2d(o) => {
            op!(run o: Float = max_pool2d(
                float x; o.kernel_size, o.stride, o.padding, o.dilation, o.ceil_mode))
        }
        Module::MaxPool2dWithIndices(o) => {
            let pooled = B::max_pool2d_with_indices(
                run.float(&o.x),
                o.kernel_size,
                o.stride,
                o.padding,
                o.dilation,
                o.ceil_mode,
                o.out_indices.dtype.into(),
            );
            run.set_float(&o.out, pooled.output);
            run.set_int(&o.out_indices, pooled.indices);
        }
        Module::MaxPool2dWithIndicesBackward(o) => {
            let (x, indices, grad) = (run.float(&o.x), run.int(&o.indices), run.float(&o.grad));
            let gradients = B::max_pool2d_with_indices_backward(
                x,
                o.kernel_size,
                o.stride,
                o.padding,
                o.dilation,
                o.ceil_mode,
                grad,
                indices,
            );
            run.set_float(&o.out, gradients.x_grad);
        }
        Module::AdaptiveAvgPool1d(o) => {
            op!(run o: Float = adaptive_avg_pool1d(float x; o.output_size))
        }
        Module::AdaptiveAvgPool1dBackward(o) => {
            op!(run o: Float = adaptive_avg_pool1d_backward(float x, float grad))
        }
        Module::AdaptiveAvgPool2d(o) => {
            op!(run o: Float = adaptive_avg_pool2d(float x; o.output_size))
        }
        Module::AdaptiveAvgPool2dBackward(o) => {
            op!(run o: Float = adaptive_avg_pool2d_backward(float x, float grad))
        }
        Module::AdaptiveAvgPool3d(o) => {
            op!(run o: Float = adaptive_avg_pool3d(float x; o.output_size))
        }
        Module::AdaptiveAvgPool3dBackward(o) => {
            op!(run o: Float = adaptive_avg_pool3d_backward(float x, float grad))
        }
        Module::Interpolate(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = interpolate(float x; o.output_size, options))
        }
        Module::InterpolateBackward(o) => {
            let options = o.options.clone().into();
            op!(run o: Float = interpolate_backward(float x, float grad; o.output_size, options))
        }
    }
}
