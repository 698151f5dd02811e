//! Neural-network operations and the backward kernels that `Autodiff` calls on its inner backend.
//!
//! Nearly all are linear in each argument, so a rule is the operation itself applied to the tangents. In a
//! backward kernel `x`, `weight` or `bias` often provides only a shape; its tangent then has no effect. Where
//! `B` may fuse a nonlinear operation (attention, normalisation, CTC), the value still comes from `B` and the
//! tangent from a rule in primitives.

#[macro_use]
mod families;
mod norm;
mod rules;

use burn::backend::ops::attention::attention_fallback;
use burn::backend::ops::ctc::ctc_loss_default;
use burn::backend::ops::{
    AttentionModuleOptions, BatchNormTrain, BatchNormTrainBackward, ConvOptions,
    ConvTransposeOptions, DeformConv2dBackward, DeformConvOptions, InterpolateOptions,
    MaxPool1dBackward, MaxPool1dWithIndices, MaxPool2dBackward, MaxPool2dWithIndices, ModuleOps,
    UnfoldOptions,
};
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Backend, IntDType, TensorMetadata, get_or_init_device_settings};

use self::norm::layer_norm;
use self::rules::{affine, entries, split};
use crate::dual::tensor::{bilinear, linear, no_tangent, sum};
use crate::dual::{Dual, DualTensor};

impl<B: Backend> ModuleOps<Self> for Dual<B> {
    conv!(1: conv1d, conv1d_x_backward, conv1d_weight_backward, conv1d_bias_backward);
    conv!(2: conv2d, conv2d_x_backward, conv2d_weight_backward, conv2d_bias_backward);
    conv!(3: conv3d, conv3d_x_backward, conv3d_weight_backward, conv3d_bias_backward);
    conv_transpose!(
        1: conv_transpose1d, conv_transpose1d_x_backward,
        conv_transpose1d_weight_backward, conv_transpose1d_bias_backward
    );
    conv_transpose!(
        2: conv_transpose2d, conv_transpose2d_x_backward,
        conv_transpose2d_weight_backward, conv_transpose2d_bias_backward
    );
    conv_transpose!(
        3: conv_transpose3d, conv_transpose3d_x_backward,
        conv_transpose3d_weight_backward, conv_transpose3d_bias_backward
    );

    avg_pool!(usize: avg_pool1d, avg_pool1d_backward);
    avg_pool!([usize; 2]: avg_pool2d, avg_pool2d_backward);
    adaptive_avg_pool!(usize: adaptive_avg_pool1d, adaptive_avg_pool1d_backward);
    adaptive_avg_pool!([usize; 2]: adaptive_avg_pool2d, adaptive_avg_pool2d_backward);
    adaptive_avg_pool!([usize; 3]: adaptive_avg_pool3d, adaptive_avg_pool3d_backward);
    max_pool!(
        usize: max_pool1d, max_pool1d_with_indices -> MaxPool1dWithIndices,
        max_pool1d_with_indices_backward -> MaxPool1dBackward
    );
    max_pool!(
        [usize; 2]: max_pool2d, max_pool2d_with_indices -> MaxPool2dWithIndices,
        max_pool2d_with_indices_backward -> MaxPool2dBackward
    );

    fn embedding(weights: FloatTensor<Self>, indices: IntTensor<B>) -> FloatTensor<Self> {
        linear(weights, |w| B::embedding(w, indices.clone()))
    }

    fn embedding_backward(
        weights: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        indices: IntTensor<B>,
    ) -> FloatTensor<Self> {
        linear(grad, |g| B::embedding_backward(weights.primal.clone(), g, indices.clone()))
    }

    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let features = x.rank() - 1;
        affine(x, weight, bias, features, B::linear)
    }

    fn linear_x_backward(weight: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        bilinear(weight, grad, B::linear_x_backward)
    }

    fn linear_weight_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        bilinear(x, grad, B::linear_weight_backward)
    }

    fn linear_bias_backward(grad: FloatTensor<Self>) -> FloatTensor<Self> {
        linear(grad, B::linear_bias_backward)
    }

    // Linear in `x`, `weight`, `mask` and `bias`; the offsets move the sampling points, for which there is no
    // rule.
    fn deform_conv2d(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mask: Option<FloatTensor<Self>>,
        bias: Option<FloatTensor<Self>>,
        options: DeformConvOptions<2>,
    ) -> FloatTensor<Self> {
        let offset = no_tangent(offset, "deform_conv2d (offset)");
        let conv = |x, w, m, b| B::deform_conv2d(x, offset.clone(), w, m, b, options.clone());
        let (mask, dmask) = split(mask);
        let along_mask =
            dmask.map(|dm| conv(x.primal.clone(), weight.primal.clone(), Some(dm), None));
        let y = affine(x, weight, bias, 1, |x, w, b| conv(x, w, mask.clone(), b));
        DualTensor { primal: y.primal, tangent: sum::<B>(y.tangent, along_mask) }
    }

    fn deform_conv2d_backward(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        mask: Option<FloatTensor<Self>>,
        bias: Option<FloatTensor<Self>>,
        grad: FloatTensor<Self>,
        options: DeformConvOptions<2>,
    ) -> DeformConv2dBackward<Self> {
        let fixed = |x| no_tangent::<B>(x, "deform_conv2d_backward");
        let grads = B::deform_conv2d_backward(
            fixed(x),
            fixed(offset),
            fixed(weight),
            mask.map(fixed),
            bias.map(fixed),
            fixed(grad),
            options,
        );
        DeformConv2dBackward::new(
            DualTensor::constant(grads.x_grad),
            DualTensor::constant(grads.offset_grad),
            DualTensor::constant(grads.weight_grad),
            grads.mask_grad.map(DualTensor::constant),
            grads.bias_grad.map(DualTensor::constant),
        )
    }

    fn unfold4d(
        x: FloatTensor<Self>,
        kernel_size: [usize; 2],
        options: UnfoldOptions,
    ) -> FloatTensor<Self> {
        linear(x, |x| B::unfold4d(x, kernel_size, options.clone()))
    }

    fn fold4d(
        x: FloatTensor<Self>,
        output_size: [usize; 2],
        kernel_size: [usize; 2],
        options: UnfoldOptions,
    ) -> FloatTensor<Self> {
        linear(x, |x| B::fold4d(x, output_size, kernel_size, options.clone()))
    }

    fn interpolate(
        x: FloatTensor<Self>,
        output_size: [usize; 2],
        options: InterpolateOptions,
    ) -> FloatTensor<Self> {
        linear(x, |x| B::interpolate(x, output_size, options.clone()))
    }

    fn interpolate_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output_size: [usize; 2],
        options: InterpolateOptions,
    ) -> FloatTensor<Self> {
        linear(grad, |g| B::interpolate_backward(x.primal.clone(), g, output_size, options.clone()))
    }

    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        mask: Option<BoolTensor<B>>,
        attn_bias: Option<FloatTensor<Self>>,
        options: AttentionModuleOptions,
    ) -> FloatTensor<Self> {
        let primal = B::attention(
            query.primal.clone(),
            key.primal.clone(),
            value.primal.clone(),
            mask.clone(),
            attn_bias.clone().map(|b| b.primal),
            options,
        );
        let moves =
            [&query, &key, &value].into_iter().chain(&attn_bias).any(|x| x.tangent.is_some());
        let tangent = moves
            .then(|| attention_fallback::<Self>(query, key, value, mask, attn_bias, options))
            .and_then(|y| y.tangent);
        DualTensor { primal, tangent }
    }

    fn layer_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: Option<FloatTensor<Self>>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        layer_norm(x, gamma, beta, epsilon)
    }

    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        norm::batch_norm(x, gamma, beta, mean, variance, epsilon)
    }

    fn batch_norm_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> BatchNormTrain<Self> {
        norm::batch_norm_train(x, gamma, beta, epsilon)
    }

    fn batch_norm_train_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        epsilon: f64,
        grad: FloatTensor<Self>,
    ) -> BatchNormTrainBackward<Self> {
        norm::batch_norm_train_backward(x, gamma, mean, variance, epsilon, grad)
    }

    fn ctc_loss(
        log_probs: FloatTensor<Self>,
        targets: IntTensor<B>,
        input_lengths: IntTensor<B>,
        target_lengths: IntTensor<B>,
        blank: usize,
    ) -> FloatTensor<Self> {
        let primal = B::ctc_loss(
            log_probs.primal.clone(),
            targets.clone(),
            input_lengths.clone(),
            target_lengths.clone(),
            blank,
        );
        let tangent = match log_probs.tangent {
            None => None,
            Some(_) => {
                ctc_loss_default::<Self>(log_probs, targets, input_lengths, target_lengths, blank)
                    .tangent
            }
        };
        DualTensor { primal, tangent }
    }

    // `Autodiff<Dual<B>>` then differentiates through the primitives, each of which has a tangent rule, and
    // never needs the tangent of the kernel below.
    fn has_ctc_loss_backward() -> bool {
        false
    }

    fn ctc_loss_backward(
        log_probs: FloatTensor<Self>,
        targets: IntTensor<B>,
        input_lengths: IntTensor<B>,
        target_lengths: IntTensor<B>,
        grad: FloatTensor<Self>,
        blank: usize,
    ) -> FloatTensor<Self> {
        let fixed = |x| no_tangent::<B>(x, "ctc_loss_backward");
        DualTensor::constant(B::ctc_loss_backward(
            fixed(log_probs),
            targets,
            input_lengths,
            target_lengths,
            fixed(grad),
            blank,
        ))
    }
}
