//! Neural-network operations and their backward kernels.

use burn::backend::ops::conv::{
    calculate_conv_output_size_asymmetric, calculate_conv_transpose_output_size,
    calculate_pool_output_size,
};
use burn::backend::ops::{
    AttentionModuleOptions, BatchNormTrain, BatchNormTrainBackward, ConvOptions,
    ConvTransposeOptions, DeformConvOptions, InterpolateMode, InterpolateOptions, UnfoldOptions,
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Shape, TensorMetadata};

use super::super::draw::{ANY, DISTINCT, Dice, Domain::Between, Input, POSITIVE, input};
use super::super::{
    Autodiff, Bounds, Case, Dual, Inner, On, Reach, STRICT, SecondOrder, but_on_flex, check,
    device, on_wgpu,
};
use super::{SECOND_ORDER, indices, ints, mask_but_first};
use crate::SUITE;

/// `Autodiff` has no second backward pass for it.
const FORWARD_ONLY: Bounds = Bounds { reach: Reach::Forward, ..STRICT };

/// Either plain, or strided, padded and dilated in two groups.
fn conv<const N: usize>(plain: bool) -> ConvOptions<N> {
    if plain {
        ConvOptions::new([1; N], [0; N], [1; N], 1)
    } else {
        ConvOptions::new([2; N], [1; N], [2; N], 2)
    }
}

/// Padded by 1 before and by 2 after.
fn lopsided<const N: usize>() -> ConvOptions<N> {
    ConvOptions::new_with_padding([2; N], [(1, 2); N], [1; N], 1)
}

fn transposed<const N: usize>(plain: bool) -> ConvTransposeOptions<N> {
    if plain {
        ConvTransposeOptions::new([1; N], [0; N], [0; N], [1; N], 1)
    } else {
        ConvTransposeOptions::new([2; N], [1; N], [1; N], [2; N], 2)
    }
}

/// `x`, `weight`, `bias` and the gradient of the output of a convolution with kernel size 2.
fn conv_inputs<const N: usize>(d: &mut Dice, plain: bool) -> [Input; 4] {
    conv_inputs_of(d, conv::<N>(plain))
}

fn conv_inputs_of<const N: usize>(d: &mut Dice, options: ConvOptions<N>) -> [Input; 4] {
    let batch = d.size().min(2);
    let size: [usize; N] = std::array::from_fn(|_| d.size() + 2);
    let out = (0..N).map(|i| {
        calculate_conv_output_size_asymmetric(
            2,
            options.stride[i],
            options.padding[i],
            options.dilation[i],
            size[i],
        )
    });
    let shape = |a, b, rest: Vec<usize>| input([vec![a, b], rest].concat(), ANY);
    [
        shape(batch, 4, size.to_vec()),
        shape(2, 4 / options.groups, vec![2; N]),
        input([2], ANY),
        shape(batch, 2, out.collect()),
    ]
}

fn transposed_inputs<const N: usize>(d: &mut Dice, plain: bool) -> [Input; 4] {
    let options = transposed::<N>(plain);
    let batch = d.size().min(2);
    let size: [usize; N] = std::array::from_fn(|_| d.size() + 1);
    let out = (0..N).map(|i| {
        calculate_conv_transpose_output_size(
            2,
            options.stride[i],
            options.padding[i],
            options.padding_out[i],
            options.dilation[i],
            size[i],
        )
    });
    let shape = |a, b, rest: Vec<usize>| input([vec![a, b], rest].concat(), ANY);
    let channels = 2 * options.groups;
    [
        shape(batch, 2, size.to_vec()),
        shape(2, 2, vec![2; N]),
        input([channels], ANY),
        shape(batch, channels, out.collect()),
    ]
}

/// The chosen inputs of a convolution.
fn of<const M: usize>(inputs: [Input; 4], chosen: [usize; M]) -> Vec<Input> {
    chosen.map(|i| inputs[i].clone()).to_vec()
}

/// An image for pooling: `[batch, channels, 4 to 7, 5 to 8]`.
fn image(d: &mut Dice) -> Input {
    input([d.size().min(2), d.size(), d.size() + 3, d.size() + 4], DISTINCT)
}

/// `[batch, channels, 4 to 7, 3 to 6, 2 to 5]`.
fn volume(d: &mut Dice) -> Input {
    let (batch, channels) = (d.size().min(2), d.size().min(2));
    input([batch, channels, d.size() + 3, d.size() + 2, d.size() + 1], DISTINCT)
}

fn sequence(d: &mut Dice) -> Input {
    input([d.size(), d.size(), d.size() + 4], DISTINCT)
}

/// The sequence or image, and the gradient of its pooling with size 3, stride 2 and padding 1.
fn pooled<const N: usize>(d: &mut Dice) -> Vec<Input> {
    let size: [usize; N] = std::array::from_fn(|_| d.size() + 3);
    let lead = vec![d.size().min(2), d.size()];
    let out = size.map(|n| calculate_pool_output_size(3, 2, 1, 1, n, false));
    vec![
        input([lead.clone(), size.to_vec()].concat(), DISTINCT),
        input([lead, out.to_vec()].concat(), ANY),
    ]
}

fn interpolation(mode: InterpolateMode) -> InterpolateOptions {
    InterpolateOptions::new(mode)
}

/// Query, key, value and bias.
fn heads(d: &mut Dice) -> Vec<Input> {
    let (batch, heads, q, k) = (d.size().min(2), d.size().min(2), d.size(), d.size());
    // At least as many keys as queries, otherwise a causal mask would leave some rows empty.
    let k = q + k - 1;
    vec![
        input([batch, heads, q, 3], ANY),
        input([batch, heads, k, 3], ANY),
        input([batch, heads, k, 2], ANY),
        input([batch, heads, q, k], ANY),
    ]
}

/// At least two entries per channel, scale, shift and the gradient of the normalised batch.
fn batch(d: &mut Dice) -> [Input; 4] {
    let c = d.size();
    let shape = [d.size(), c, d.size() + 1, d.size().min(2)];
    [input(shape, DISTINCT), input([c], ANY), input([c], ANY), input(shape, ANY)]
}

/// The batch, scale, arbitrary mean and variance, and the gradient.
fn batch_backward(d: &mut Dice) -> Vec<Input> {
    let [x, gamma, mean, grad] = batch(d);
    vec![x, gamma.clone(), mean, gamma.positive(), grad]
}

const PLAIN: AttentionModuleOptions =
    AttentionModuleOptions { scale: None, softcap: None, is_causal: false };
const CAPPED: AttentionModuleOptions =
    AttentionModuleOptions { scale: Some(0.8), softcap: Some(2.0), is_causal: true };

table! {
    // ---- linear and embedding
    linear(x, w, b): |d| {
        let (n, i, o) = (d.size(), d.size(), d.size());
        vec![input([n, i], ANY), input([i, o], ANY), input([o], ANY)]
    } => B::linear(x, w, Some(b));
    linear_batched(x, w, b): |d| {
        let (a, n, i, o) = (d.size(), d.size(), d.size(), d.size());
        vec![input([a, n, i], ANY), input([i, o], ANY), input([o], ANY)]
    } => B::linear(x, w, Some(b));
    linear_no_bias(x, w): |d| {
        let (n, i, o) = (d.size(), d.size(), d.size());
        vec![input([n, i], ANY), input([i, o], ANY)]
    } => B::linear(x, w, None);
    linear_x_backward(w, g): |d| {
        let (a, n, i, o) = (d.size(), d.size(), d.size(), d.size());
        vec![input([i, o], ANY), input([a, n, o], ANY)]
    } => B::linear_x_backward(w, g), FORWARD_ONLY;
    linear_weight_backward(x, g): |d| {
        let (a, n, i, o) = (d.size(), d.size(), d.size(), d.size());
        vec![input([a, n, i], ANY), input([a, n, o], ANY)]
    } => B::linear_weight_backward(x, g), FORWARD_ONLY;
    linear_bias_backward(g): |d| d.cube(ANY) => B::linear_bias_backward(g), FORWARD_ONLY;
    embedding(w): |d| vec![input([d.size() + 1, d.size()], ANY)] => {
        let n = w.shape()[0];
        B::embedding(w, indices::<B>(&[2, 3], n))
    };
    embedding_backward(w, g): |d| {
        let width = d.size();
        vec![input([d.size() + 1, width], ANY), input([2, 3, width], ANY)]
    } => { let n = w.shape()[0]; B::embedding_backward(w, g, indices::<B>(&[2, 3], n)) }, FORWARD_ONLY;

    // ---- convolutions
    conv1d(x, w, b): |d| of(conv_inputs::<1>(d, true), [0, 1, 2]) => B::conv1d(x, w, Some(b), conv(true));
    conv1d_strided(x, w, b): |d| of(conv_inputs::<1>(d, false), [0, 1, 2]) => B::conv1d(x, w, Some(b), conv(false));
    conv1d_no_bias(x, w): |d| of(conv_inputs::<1>(d, true), [0, 1]) => B::conv1d(x, w, None, conv(true));
    conv1d_lopsided(x, w, b): |d| of(conv_inputs_of(d, lopsided::<1>()), [0, 1, 2]) => B::conv1d(x, w, Some(b), lopsided());
    conv1d_x_backward(x, w, g): |d| of(conv_inputs::<1>(d, false), [0, 1, 3]) => B::conv1d_x_backward(x, w, g, conv(false));
    conv1d_weight_backward(x, w, g): |d| of(conv_inputs::<1>(d, false), [0, 1, 3]) => B::conv1d_weight_backward(x, w, g, conv(false));
    conv1d_bias_backward(x, b, g): |d| of(conv_inputs::<1>(d, false), [0, 2, 3]) => B::conv1d_bias_backward(x, b, g);
    conv2d(x, w, b): |d| of(conv_inputs::<2>(d, true), [0, 1, 2]) => B::conv2d(x, w, Some(b), conv(true));
    conv2d_strided(x, w, b): |d| of(conv_inputs::<2>(d, false), [0, 1, 2]) => B::conv2d(x, w, Some(b), conv(false));
    conv2d_no_bias(x, w): |d| of(conv_inputs::<2>(d, true), [0, 1]) => B::conv2d(x, w, None, conv(true));
    conv2d_lopsided(x, w, b): |d| of(conv_inputs_of(d, lopsided::<2>()), [0, 1, 2]) => B::conv2d(x, w, Some(b), lopsided());
    conv2d_x_backward_lopsided(x, w, g): |d| of(conv_inputs_of(d, lopsided::<2>()), [0, 1, 3]) => B::conv2d_x_backward(x, w, g, lopsided());
    conv2d_weight_backward_lopsided(x, w, g): |d| of(conv_inputs_of(d, lopsided::<2>()), [0, 1, 3]) => B::conv2d_weight_backward(x, w, g, lopsided());
    conv2d_x_backward(x, w, g): |d| of(conv_inputs::<2>(d, false), [0, 1, 3]) => B::conv2d_x_backward(x, w, g, conv(false));
    conv2d_weight_backward(x, w, g): |d| of(conv_inputs::<2>(d, false), [0, 1, 3]) => B::conv2d_weight_backward(x, w, g, conv(false));
    conv2d_bias_backward(x, b, g): |d| of(conv_inputs::<2>(d, false), [0, 2, 3]) => B::conv2d_bias_backward(x, b, g);
    conv3d(x, w, b): |d| of(conv_inputs::<3>(d, true), [0, 1, 2]) => B::conv3d(x, w, Some(b), conv(true));
    conv3d_strided(x, w, b): |d| of(conv_inputs::<3>(d, false), [0, 1, 2]) => B::conv3d(x, w, Some(b), conv(false));
    conv3d_x_backward(x, w, g): |d| of(conv_inputs::<3>(d, false), [0, 1, 3]) => B::conv3d_x_backward(x, w, g, conv(false));
    conv3d_weight_backward(x, w, g): |d| of(conv_inputs::<3>(d, false), [0, 1, 3]) => B::conv3d_weight_backward(x, w, g, conv(false));
    conv3d_bias_backward(x, b, g): |d| of(conv_inputs::<3>(d, false), [0, 2, 3]) => B::conv3d_bias_backward(x, b, g);

    // ---- transposed convolutions
    conv_transpose1d(x, w, b): |d| of(transposed_inputs::<1>(d, true), [0, 1, 2]) => B::conv_transpose1d(x, w, Some(b), transposed(true));
    conv_transpose1d_strided(x, w, b): |d| of(transposed_inputs::<1>(d, false), [0, 1, 2]) => B::conv_transpose1d(x, w, Some(b), transposed(false));
    conv_transpose1d_x_backward(w, g): |d| of(transposed_inputs::<1>(d, true), [1, 3]) => B::conv_transpose1d_x_backward(w, g, transposed(true));
    conv_transpose1d_weight_backward(x, w, g): |d| of(transposed_inputs::<1>(d, false), [0, 1, 3]) => B::conv_transpose1d_weight_backward(x, w, g, transposed(false));
    conv_transpose1d_bias_backward(x, b, g): |d| of(transposed_inputs::<1>(d, false), [0, 2, 3]) => B::conv_transpose1d_bias_backward(x, b, g);
    conv_transpose2d(x, w, b): |d| of(transposed_inputs::<2>(d, true), [0, 1, 2]) => B::conv_transpose2d(x, w, Some(b), transposed(true));
    conv_transpose2d_strided(x, w, b): |d| of(transposed_inputs::<2>(d, false), [0, 1, 2]) => B::conv_transpose2d(x, w, Some(b), transposed(false));
    conv_transpose2d_no_bias(x, w): |d| of(transposed_inputs::<2>(d, true), [0, 1]) => B::conv_transpose2d(x, w, None, transposed(true));
    conv_transpose2d_x_backward(w, g): |d| of(transposed_inputs::<2>(d, false), [1, 3]) => B::conv_transpose2d_x_backward(w, g, transposed(false));
    conv_transpose2d_weight_backward(x, w, g): |d| of(transposed_inputs::<2>(d, false), [0, 1, 3]) => B::conv_transpose2d_weight_backward(x, w, g, transposed(false));
    conv_transpose2d_bias_backward(x, b, g): |d| of(transposed_inputs::<2>(d, false), [0, 2, 3]) => B::conv_transpose2d_bias_backward(x, b, g);
    conv_transpose3d(x, w, b): |d| of(transposed_inputs::<3>(d, true), [0, 1, 2]) => B::conv_transpose3d(x, w, Some(b), transposed(true));
    conv_transpose3d_strided(x, w, b): |d| of(transposed_inputs::<3>(d, false), [0, 1, 2]) => B::conv_transpose3d(x, w, Some(b), transposed(false));
    conv_transpose3d_x_backward(w, g): |d| of(transposed_inputs::<3>(d, false), [1, 3]) => B::conv_transpose3d_x_backward(w, g, transposed(false));
    conv_transpose3d_weight_backward(x, w, g): |d| of(transposed_inputs::<3>(d, false), [0, 1, 3]) => B::conv_transpose3d_weight_backward(x, w, g, transposed(false));
    conv_transpose3d_bias_backward(x, b, g): |d| of(transposed_inputs::<3>(d, false), [0, 2, 3]) => B::conv_transpose3d_bias_backward(x, b, g);

    // ---- deformable convolution: with fixed offsets
    deform_conv2d(x, w, m, b): |d| {
        let (n, h) = (d.size().min(2), d.size());
        vec![input([n, 2, h + 1, 4], ANY), input([3, 2, 2, 2], ANY), input([n, 4, h, 3], ANY), input([3], ANY)]
    } => {
        let [n, _, h, w_out] = m.shape().dims();
        let offset = B::float_full(Shape::from([n, 8, h, w_out]), 0.3.into(), &device::<B>(), m.dtype().into());
        B::deform_conv2d(x, offset, w, Some(m), Some(b), DeformConvOptions::new([1, 1], [0, 0], [1, 1], 1, 1))
    }, DEFORM_CONV;

    // ---- pooling
    avg_pool1d(x): |d| vec![sequence(d)] => B::avg_pool1d(x, 3, 2, 1, true, false);
    avg_pool1d_backward(x, g): |d| pooled::<1>(d) => B::avg_pool1d_backward(x, g, 3, 2, 1, true, false), FORWARD_ONLY;
    avg_pool2d(x): |d| vec![image(d)] => B::avg_pool2d(x, [3, 2], [2, 1], [1, 0], true, false);
    avg_pool2d_uncounted_pad(x): |d| vec![image(d)] => B::avg_pool2d(x, [3, 2], [2, 1], [1, 1], false, true);
    avg_pool2d_backward(x, g): |d| pooled::<2>(d) => B::avg_pool2d_backward(x, g, [3; 2], [2; 2], [1; 2], true, false), FORWARD_ONLY;
    adaptive_avg_pool1d(x): |d| vec![sequence(d)] => B::adaptive_avg_pool1d(x, 3);
    adaptive_avg_pool1d_backward(x, g): |d| {
        let x = sequence(d);
        vec![x.clone(), x.resized([3], ANY)]
    } => B::adaptive_avg_pool1d_backward(x, g), FORWARD_ONLY;
    adaptive_avg_pool2d(x): |d| vec![image(d)] => B::adaptive_avg_pool2d(x, [3, 2]);
    adaptive_avg_pool2d_backward(x, g): |d| {
        let x = image(d);
        vec![x.clone(), x.resized([3, 2], ANY)]
    } => B::adaptive_avg_pool2d_backward(x, g), FORWARD_ONLY;
    adaptive_avg_pool3d(x): |d| vec![volume(d)] => B::adaptive_avg_pool3d(x, [3, 2, 1]);
    adaptive_avg_pool3d_backward(x, g): |d| {
        let x = volume(d);
        vec![x.clone(), x.resized([3, 2, 1], ANY)]
    } => B::adaptive_avg_pool3d_backward(x, g), FORWARD_ONLY;
    max_pool1d(x): |d| vec![sequence(d)] => B::max_pool1d(x, 3, 2, 1, 1, false);
    max_pool1d_dilated(x): |d| vec![sequence(d)] => B::max_pool1d(x, 2, 1, 1, 2, true);
    max_pool1d_with_indices(x): |d| vec![sequence(d)] => B::max_pool1d_with_indices(x, 3, 2, 1, 1, false, SUITE.int).output;
    max_pool1d_with_indices_backward(x, g): |d| pooled::<1>(d) => {
        let [a, b, n] = g.shape().dims();
        let i = indices::<B>(&[a, b, n], x.shape()[2]);
        B::max_pool1d_with_indices_backward(x, 3, 2, 1, 1, false, g, i).x_grad
    }, FORWARD_ONLY;
    max_pool2d(x): |d| vec![image(d)] => B::max_pool2d(x, [3, 2], [2, 1], [1, 0], [1, 2], false);
    max_pool2d_ceil(x): |d| vec![image(d)] => B::max_pool2d(x, [3, 3], [2, 2], [1, 1], [1, 1], true);
    max_pool2d_with_indices(x): |d| vec![image(d)] => B::max_pool2d_with_indices(x, [2, 3], [1, 2], [1, 1], [1, 1], false, SUITE.int).output;
    max_pool2d_with_indices_backward(x, g): |d| pooled::<2>(d) => {
        let [a, b, h, w] = g.shape().dims();
        let i = indices::<B>(&[a, b, h, w], x.shape()[2] * x.shape()[3]);
        B::max_pool2d_with_indices_backward(x, [3; 2], [2; 2], [1; 2], [1; 2], false, g, i).x_grad
    }, FORWARD_ONLY;

    // ---- resampling
    unfold4d(x): |d| vec![image(d)] => B::unfold4d(x, [3, 2], UnfoldOptions::new([2, 1], [1, 0], [1, 2]));
    fold4d(x, size): |d| {
        let (h, w) = (d.size() + 3, d.size() + 3);
        // The blocks of a kernel of size 3 and 2 with stride 2 and 1, padding 1 and 0, dilation 1 and 2.
        let blocks = ((h - 1) / 2 + 1) * (w - 2);
        vec![input([d.size().min(2), 12, blocks], ANY), input([h, w], ANY)]
    } => {
        let [h, w] = size.shape().dims();
        B::fold4d(x, [h, w], [3, 2], UnfoldOptions::new([2, 1], [1, 0], [1, 2]))
    };
    interpolate_nearest(x): |d| vec![image(d)] => B::interpolate(x, [6, 3], interpolation(InterpolateMode::Nearest));
    interpolate_bilinear(x): |d| vec![image(d)] => B::interpolate(x, [6, 3], interpolation(InterpolateMode::Bilinear)), INTERPOLATE;
    interpolate_bicubic(x): |d| vec![image(d)] => B::interpolate(x, [6, 3], interpolation(InterpolateMode::Bicubic)), INTERPOLATE;
    interpolate_lanczos(x): |d| vec![image(d)] => B::interpolate(x, [6, 3], interpolation(InterpolateMode::Lanczos3)), FORWARD_ONLY;
    interpolate_backward(x, g): |d| {
        let x = image(d);
        vec![x.clone(), x.resized([6, 3], ANY)]
    } => B::interpolate_backward(x, g, [6, 3], interpolation(InterpolateMode::Nearest)), FORWARD_ONLY;

    // ---- composites
    attention(q, k, v): |d| heads(d)[..3].to_vec() => B::attention(q, k, v, None, None, PLAIN);
    attention_masked(q, k, v, bias): |d| heads(d) => {
        let m = mask_but_first::<B>(&bias.shape().to_vec());
        B::attention(q, k, v, Some(m), Some(bias), CAPPED)
    };
    layer_norm(x, gamma, beta): |d| {
        let width = d.size() + 1;
        vec![input([d.size(), d.size(), width], DISTINCT), input([width], ANY), input([width], ANY)]
    } => B::layer_norm(x, gamma, Some(beta), 1e-2);
    layer_norm_no_beta(x, gamma): |d| {
        let width = d.size() + 1;
        vec![input([d.size(), width], DISTINCT), input([width], ANY)]
    } => B::layer_norm(x, gamma, None, 1e-2);
    batch_norm(x, gamma, beta, mean, variance): |d| {
        let c = d.size();
        let shape = [d.size(), c, d.size()];
        vec![input(shape, ANY), input([c], ANY), input([c], ANY), input([c], ANY), input([c], POSITIVE)]
    } => B::batch_norm(x, gamma, beta, mean, variance, 1e-2);
    batch_norm_train(x, gamma, beta): |d| batch(d)[..3].to_vec() => B::batch_norm_train(x, gamma, beta, 1e-2).output;
    batch_norm_train_mean(x, gamma, beta): |d| batch(d)[..3].to_vec() => {
        let BatchNormTrain { mean, .. } = B::batch_norm_train(x, gamma, beta, 1e-2);
        mean
    }, FORWARD_ONLY;
    batch_norm_train_variance(x, gamma, beta): |d| batch(d)[..3].to_vec() => {
        let BatchNormTrain { variance, .. } = B::batch_norm_train(x, gamma, beta, 1e-2);
        variance
    }, FORWARD_ONLY;
    batch_norm_train_backward(x, gamma, mean, variance, g): |d| batch_backward(d) => {
        let BatchNormTrainBackward { x_grad, .. } = B::batch_norm_train_backward(x, gamma, mean, variance, 1e-2, g);
        x_grad
    }, FORWARD_ONLY;
    batch_norm_train_backward_gamma(x, gamma, mean, variance, g): |d| batch_backward(d) => {
        let BatchNormTrainBackward { gamma_grad, .. } = B::batch_norm_train_backward(x, gamma, mean, variance, 1e-2, g);
        gamma_grad
    }, FORWARD_ONLY;
    batch_norm_train_backward_beta(x, gamma, mean, variance, g): |d| batch_backward(d) => {
        let BatchNormTrainBackward { beta_grad, .. } = B::batch_norm_train_backward(x, gamma, mean, variance, 1e-2, g);
        beta_grad
    }, FORWARD_ONLY;
    ctc_loss(x): |d| vec![input([d.size() + 4, 2, 4], Between(-3.0, -0.5))] => {
        let time = x.shape()[0] as i64;
        B::ctc_loss(x, ints::<B>(&[2, 2], &[1, 2, 3, 3]), ints::<B>(&[2], &[time, time - 1]), ints::<B>(&[2], &[2, 1]), 0)
    }, CTC;
}

/// On Flex, Burn's backward pass for it is in f32 and has no tangent rule. On wgpu it disagrees with finite
/// differences of the value; the tangent agrees with them.
const DEFORM_CONV: Bounds = Bounds {
    adjoint: 1e-6,
    reach: if matches!(SUITE.on, On::Wgpu) { Reach::Forward } else { Reach::Reverse },
    ..STRICT
};

/// The backward pass of wgpu disagrees with finite differences of the value; the tangent agrees with them.
const CTC: Bounds = on_wgpu(FORWARD_ONLY);

/// Only Flex has a backward pass for it.
const INTERPOLATE: Bounds = but_on_flex(FORWARD_ONLY);
