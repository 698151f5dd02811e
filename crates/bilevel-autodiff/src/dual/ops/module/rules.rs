//! The tangent rules of module operations that take more than one call of the operation itself.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Shape, TensorMetadata};

use crate::dual::DualTensor;
use crate::dual::tensor::sum;

/// The value and the tangent of an optional argument.
pub(super) fn split<B: Backend>(
    x: Option<DualTensor<B>>,
) -> (Option<FloatTensor<B>>, Option<FloatTensor<B>>) {
    x.map_or((None, None), |x| (Some(x.primal), x.tangent))
}

/// A map bilinear in `x` and `weight`, plus a bias along the axis `channels` of the result:
/// `d f(x, w, b) = f(dx, w, db) + f(x, dw, 0)`. The tangent of the bias is passed to whichever call comes
/// first.
pub(super) fn affine<B: Backend>(
    x: DualTensor<B>,
    weight: DualTensor<B>,
    bias: Option<DualTensor<B>>,
    channels: usize,
    f: impl Fn(FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>) -> FloatTensor<B>,
) -> DualTensor<B> {
    let (bias, mut db) = split(bias);
    let along_x = x.tangent.map(|dx| f(dx, weight.primal.clone(), db.take()));
    let along_weight = weight.tangent.map(|dw| f(x.primal.clone(), dw, db.take()));
    let primal = f(x.primal, weight.primal, bias);
    let along_bias = db.map(|db| broadcast::<B>(db, primal.shape(), channels));
    let tangent = sum::<B>(sum::<B>(along_x, along_weight), along_bias);
    DualTensor { primal, tangent }
}

/// A vector along one axis of `shape`, broadcast along all others.
pub(super) fn broadcast<B: Backend>(
    vector: FloatTensor<B>,
    shape: Shape,
    axis: usize,
) -> FloatTensor<B> {
    let mut column = vec![1; shape.num_dims()];
    column[axis] = shape[axis];
    B::float_expand(B::float_reshape(vector, Shape::from(column)), shape)
}

/// The entries of `x: [batch, channels, ..]` at `indices`, which every backend counts within a channel,
/// without padding. This uses a gather because, unlike pooling, it can be differentiated once more.
pub(super) fn entries<B: Backend>(x: FloatTensor<B>, indices: IntTensor<B>) -> FloatTensor<B> {
    let flat = |shape: Shape| Shape::from([shape[0], shape[1], shape[2..].iter().product()]);
    let out = indices.shape();
    let x_flat = flat(x.shape());
    let picked =
        B::float_gather(2, B::float_reshape(x, x_flat), B::int_reshape(indices, flat(out.clone())));
    B::float_reshape(picked, out)
}
