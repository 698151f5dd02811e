//! The tangent rules of module operations that are more than one call to the operation itself.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorMetadata};

use crate::dual::DualTensor;
use crate::dual::tensor::sum;

/// The value and the tangent of an optional argument.
pub(super) fn split<B: Backend>(
    x: Option<DualTensor<B>>,
) -> (Option<FloatTensor<B>>, Option<FloatTensor<B>>) {
    x.map_or((None, None), |x| (Some(x.primal), x.tangent))
}

/// A map bilinear in `x` and `weight`, plus a bias along the axis `channels` of the result:
/// `d f(x, w, b) = f(dx, w, db) + f(x, dw, 0)`. The tangent of the bias rides on whichever call is
/// made first.
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

/// A vector along one axis of `shape`, repeated along all others.
fn broadcast<B: Backend>(vector: FloatTensor<B>, shape: Shape, axis: usize) -> FloatTensor<B> {
    let mut column = vec![1; shape.num_dims()];
    column[axis] = shape[axis];
    B::float_expand(B::float_reshape(vector, Shape::from(column)), shape)
}

/// The entries of `x: [batch, channels, ..]` at `indices`, which every backend counts within a
/// channel, without padding. A gather, because unlike pooling it can be differentiated once more.
pub(super) fn entries<B: Backend>(x: FloatTensor<B>, indices: IntTensor<B>) -> FloatTensor<B> {
    let flat = |shape: Shape| Shape::from([shape[0], shape[1], shape[2..].iter().product()]);
    let out = indices.shape();
    let x_flat = flat(x.shape());
    let picked =
        B::float_gather(2, B::float_reshape(x, x_flat), B::int_reshape(indices, flat(out.clone())));
    B::float_reshape(picked, out)
}

/// `y = γ·n + β` with `n = (x - mean x)/s`, `s² = var x + ε`, over the last axis. Its tangent is
/// `γ·dn + dγ·n + dβ` with `dn = (c - n·mean(n·c))/s`, `c = dx - mean dx`.
pub(super) fn layer_norm<B: Backend>(
    x: DualTensor<B>,
    gamma: DualTensor<B>,
    beta: Option<DualTensor<B>>,
    epsilon: f64,
) -> DualTensor<B> {
    let (beta, dbeta) = split(beta);
    let primal = B::layer_norm(x.primal.clone(), gamma.primal.clone(), beta, epsilon);
    let shape = primal.shape();
    let last = shape.num_dims() - 1;
    let rows = |v| broadcast::<B>(v, shape.clone(), last);
    let centre = |x: FloatTensor<B>| {
        let mean = B::float_mean_dim(x.clone(), last);
        B::float_sub(x, mean)
    };

    let mut tangent = dbeta.map(rows);
    if x.tangent.is_some() || gamma.tangent.is_some() {
        let centred = centre(x.primal);
        let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), last);
        let s = B::float_sqrt(B::float_add_scalar(variance, epsilon.into()));
        let n = B::float_div(centred, s.clone());
        let along_x = x.tangent.map(|dx| {
            let c = centre(dx);
            let mean = B::float_mean_dim(B::float_mul(n.clone(), c.clone()), last);
            let dn = B::float_div(B::float_sub(c, B::float_mul(n.clone(), mean)), s);
            B::float_mul(rows(gamma.primal), dn)
        });
        let along_gamma = gamma.tangent.map(|dgamma| B::float_mul(rows(dgamma), n));
        tangent = sum::<B>(tangent, sum::<B>(along_x, along_gamma));
    }
    DualTensor { primal, tangent }
}
