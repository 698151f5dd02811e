//! Numbers that stay on the device: steps compute with them, and nobody reads them.

use bilevel_program::{Vector, float};
use burn::backend::{DispatchTensor, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};

/// A tensor of any rank as a list.
pub(crate) fn flat(leaf: DispatchTensor) -> Tensor<1> {
    let shape = Shape::new([leaf.shape().num_elements()]);
    Tensor::from_dispatch(float::reshape(leaf, shape))
}

/// A list in the shape of `like`.
pub(crate) fn shaped<const D: usize>(list: Tensor<D>, like: Shape) -> DispatchTensor {
    float::reshape(list.into_dispatch(), like)
}

/// Applies `f` to every leaf and its counterpart, as lists.
pub(crate) fn zip_flat(
    a: &Vector,
    b: &Vector,
    f: impl Fn(Tensor<1>, Tensor<1>) -> Tensor<1>,
) -> Vector {
    a.zip(b, |a, b| {
        let shape = a.shape();
        shaped(f(flat(a), flat(b)), shape)
    })
}

/// The elementwise product.
pub(crate) fn multiply(a: &Vector, b: &Vector) -> Vector {
    a.zip(b, float::mul)
}

/// The inner product, of shape `[1]`: of half-precision vectors in single precision.
pub(crate) fn inner(a: &Vector, b: &Vector) -> Tensor<1> {
    let products = wide(a).zip(&wide(b), float::mul);
    let sums = products.leaves().iter().map(|leaf| flat(leaf.clone()).sum());
    sums.reduce(Tensor::add).unwrap_or_else(|| Tensor::zeros([1], &a.device()))
}

/// The Euclidean norm, of shape `[1]`, without overflow where the entries are finite.
pub(crate) fn norm(v: &Vector) -> Tensor<1> {
    let wide = wide(v);
    let largest = wide.leaves().iter().map(|leaf| flat(float::max_abs(leaf.clone())));
    let Some(largest) = largest.reduce(Tensor::max_pair) else {
        return Tensor::zeros([1], &v.device());
    };
    let largest = largest.clamp_min(f32::MIN_POSITIVE);
    let unit = scale_by(&largest.clone().recip(), &wide);
    inner(&unit, &unit).sqrt() * largest
}

/// Half-precision numbers in single precision: they end at 65504, or have three digits.
fn wide(v: &Vector) -> Vector {
    v.map(|leaf| match leaf.dtype() {
        DType::F16 | DType::BF16 => float::cast(leaf, DType::F32),
        _ => leaf,
    })
}

/// `factor * v`, with a factor of shape `[1]`.
pub(crate) fn scale_by(factor: &Tensor<1>, v: &Vector) -> Vector {
    v.map(|leaf| {
        let factor = factor.clone().cast(leaf.dtype());
        let ones = Shape::from(vec![1; leaf.shape().num_dims()]);
        float::mul(leaf, shaped(factor, ones))
    })
}

/// The unit vector `i` like `like`.
pub(crate) fn unit(like: &Vector, i: usize) -> Vector {
    let mut begin = 0;
    like.zeros_like().map(|leaf| {
        let shape = leaf.shape();
        let here = begin..begin + shape.num_elements();
        begin = here.end;
        if !here.contains(&i) {
            return leaf;
        }
        let (zeros, at) = (flat(leaf), i - here.start);
        let one = zeros.clone().slice(at..at + 1) + 1.0;
        shaped(zeros.slice_assign(at..at + 1, one), shape)
    })
}

/// All entries in one list, in the element type of the first variable.
pub(crate) fn flatten(v: &Vector) -> Tensor<1> {
    let lists = v.leaves().iter().map(|leaf| flat(leaf.clone()));
    match v.leaves().first().map(|leaf| leaf.dtype()) {
        Some(dtype) => Tensor::cat(lists.map(|list| list.cast(dtype)).collect(), 0),
        None => Tensor::empty([0], &v.device()),
    }
}

/// A list as a vector like `like`.
pub(crate) fn unflatten(list: &Tensor<1>, like: &Vector) -> Vector {
    let mut begin = 0;
    like.map(|leaf| {
        let (shape, dtype) = (leaf.shape(), leaf.dtype());
        let end = begin + shape.num_elements();
        let values = list.clone().slice(begin..end).cast(dtype);
        begin = end;
        shaped(values, shape)
    })
}
