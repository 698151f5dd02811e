//! Numbers that stay on the device: what a step computes with and nobody reads.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Shape, Tensor, TensorMetadata, TensorPrimitive};

/// A tensor of any rank as a list.
pub(crate) fn flat<B: Backend>(leaf: FloatTensor<B>) -> Tensor<B, 1> {
    let shape = Shape::new([leaf.shape().num_elements()]);
    Tensor::from_primitive(TensorPrimitive::Float(B::float_reshape(leaf, shape)))
}

/// A list in the shape of `like`.
pub(crate) fn shaped<B: Backend, const D: usize>(
    list: Tensor<B, D>,
    like: Shape,
) -> FloatTensor<B> {
    B::float_reshape(list.into_primitive().tensor(), like)
}

/// Applies `f` to every leaf and its partner, as lists.
pub(crate) fn zip_flat<B: Backend>(
    a: &Vector<B>,
    b: &Vector<B>,
    f: impl Fn(Tensor<B, 1>, Tensor<B, 1>) -> Tensor<B, 1>,
) -> Vector<B> {
    a.zip(b, |a, b| {
        let shape = a.shape();
        shaped(f(flat::<B>(a), flat::<B>(b)), shape)
    })
}

/// The entries' products.
pub(crate) fn multiply<B: Backend>(a: &Vector<B>, b: &Vector<B>) -> Vector<B> {
    a.zip(b, B::float_mul)
}

/// The inner product, of shape `[1]`.
pub(crate) fn inner<B: Backend>(a: &Vector<B>, b: &Vector<B>) -> Tensor<B, 1> {
    let products = multiply(a, b);
    let sums = products.leaves().iter().map(|leaf| flat::<B>(leaf.clone()).sum());
    sums.reduce(Tensor::add).unwrap_or_else(|| Tensor::zeros([1], &a.device()))
}

/// `factor * v`, with a factor of shape `[1]`.
pub(crate) fn scale_by<B: Backend>(factor: &Tensor<B, 1>, v: &Vector<B>) -> Vector<B> {
    v.map(|leaf| {
        let factor = factor.clone().cast(leaf.dtype());
        let ones = Shape::from(vec![1; leaf.shape().num_dims()]);
        B::float_mul(leaf, shaped(factor, ones))
    })
}

/// The unit vector `i` like `like`.
pub(crate) fn unit<B: Backend>(like: &Vector<B>, i: usize) -> Vector<B> {
    let mut begin = 0;
    like.zeros_like().map(|leaf| {
        let shape = leaf.shape();
        let here = begin..begin + shape.num_elements();
        begin = here.end;
        if !here.contains(&i) {
            return leaf;
        }
        let (zeros, at) = (flat::<B>(leaf), i - here.start);
        let one = zeros.clone().slice(at..at + 1) + 1.0;
        shaped(zeros.slice_assign(at..at + 1, one), shape)
    })
}

/// All entries in one list, in the element type of the first variable.
pub(crate) fn flatten<B: Backend>(v: &Vector<B>) -> Tensor<B, 1> {
    let lists = v.leaves().iter().map(|leaf| flat::<B>(leaf.clone()));
    match v.leaves().first().map(|leaf| leaf.dtype()) {
        Some(dtype) => Tensor::cat(lists.map(|list| list.cast(dtype)).collect(), 0),
        None => Tensor::empty([0], &v.device()),
    }
}

/// A list as a vector like `like`.
pub(crate) fn unflatten<B: Backend>(list: &Tensor<B, 1>, like: &Vector<B>) -> Vector<B> {
    let mut begin = 0;
    like.map(|leaf| {
        let (shape, dtype) = (leaf.shape(), leaf.dtype());
        let end = begin + shape.num_elements();
        let values = list.clone().slice(begin..end).cast(dtype);
        begin = end;
        shaped(values, shape)
    })
}
