//! Extrema, order statistics and products.
//!
//! The tangent of an extremum, of a sorted or of a selected value is that of the entry it was taken from: it
//! is gathered at the indices that the backend reports. At ties this is the entry that the backend selected.

use std::ops::Range;

use burn::backend::tensor::{FloatTensor as T, IntTensor};
use burn::backend::{Backend, IntDType, Shape, Slice, TensorMetadata, get_or_init_device_settings};

use crate::dual::DualTensor;

/// `y = x[indices]` along `dim`.
pub(super) fn gathered<B: Backend>(
    y: T<B>,
    indices: IntTensor<B>,
    dx: Option<T<B>>,
    dim: usize,
) -> (DualTensor<B>, IntTensor<B>) {
    let tangent = dx.map(|dx| B::float_gather(dim, dx, indices.clone()));
    (DualTensor { primal: y, tangent }, indices)
}

/// The backend's `plain` operation if there is no tangent, otherwise its variant that also returns the
/// indices.
pub(super) fn at_index<B: Backend>(
    x: DualTensor<B>,
    plain: impl FnOnce(T<B>) -> T<B>,
    dim: usize,
    with_indices: impl FnOnce(T<B>, IntDType) -> (T<B>, IntTensor<B>),
) -> DualTensor<B> {
    if x.tangent.is_none() {
        return DualTensor::constant(plain(x.primal));
    }
    let int = get_or_init_device_settings::<B>(&x.primal.device()).int_dtype;
    let (y, indices) = with_indices(x.primal, int);
    gathered(y, indices, x.tangent, dim).0
}

/// The `k` largest entries in descending order.
pub(super) fn topk<B: Backend>(x: DualTensor<B>, dim: usize, k: usize) -> DualTensor<B> {
    at_index(
        x,
        |x| B::float_topk(x, dim, k),
        dim,
        |x, int| B::float_topk_with_indices(x, dim, k, int),
    )
}

/// A reduction over all entries, as one over the only dimension of the flattened tensor.
pub(super) fn all<B: Backend>(
    x: DualTensor<B>,
    plain: impl FnOnce(T<B>) -> T<B>,
    along: impl FnOnce(DualTensor<B>, usize) -> DualTensor<B>,
) -> DualTensor<B> {
    let Some(dx) = x.tangent else {
        return DualTensor::constant(plain(x.primal));
    };
    let flat = Shape::new([x.primal.shape().num_elements()]);
    let x = DualTensor {
        primal: B::float_reshape(x.primal, flat.clone()),
        tangent: Some(B::float_reshape(dx, flat)),
    };
    along(x, 0)
}

/// Tangent of a cumulative product, exact at zeros too: it never divides by an entry.
///
/// Pairs `(p, dp)` are combined by `(a, da)(b, db) = (ab, da b + a db)`, which is associative, so the prefix
/// products are computed by doubling: `log2 n` rounds instead of `n` steps.
pub(super) fn cumprod_push<B: Backend>(x: T<B>, dx: T<B>, dim: usize) -> T<B> {
    let n = x.shape()[dim];
    let (mut p, mut dp) = (x, dx);
    let mut width = 1;
    while width < n {
        let (head, tail) = (0..width, width..n);
        let (a, da) = (narrow::<B>(&p, dim, 0..n - width), narrow::<B>(&dp, dim, 0..n - width));
        let (b, db) = (narrow::<B>(&p, dim, tail.clone()), narrow::<B>(&dp, dim, tail));
        let both = B::float_add(B::float_mul(da, b.clone()), B::float_mul(a.clone(), db));
        dp = B::float_cat(vec![narrow::<B>(&dp, dim, head.clone()), both], dim);
        p = B::float_cat(vec![narrow::<B>(&p, dim, head), B::float_mul(a, b)], dim);
        width *= 2;
    }
    dp
}

/// Tangent of a product along `dim`: the last of the cumulative products.
pub(super) fn prod_push<B: Backend>(x: T<B>, dx: T<B>, dim: usize) -> T<B> {
    let n = x.shape()[dim];
    narrow::<B>(&cumprod_push::<B>(x, dx, dim), dim, n - 1..n)
}

/// Tangent of a running extremum `y` of `x`: each output has the tangent of the latest entry that set it.
pub(super) fn running_push<B: Backend>(x: T<B>, y: T<B>, dx: T<B>, dim: usize) -> T<B> {
    let shape = x.shape();
    let device = x.device();
    let settings = get_or_init_device_settings::<B>(&device);
    let mut along = vec![1; shape.num_dims()];
    along[dim] = shape[dim];
    let positions = B::int_arange(0..shape[dim] as i64, &device, settings.int_dtype);
    let positions = B::int_expand(B::int_reshape(positions, Shape::from(along)), shape);
    let passed = B::float_not_equal(x, y, settings.bool_dtype);
    let source = B::int_cummax(B::int_mask_fill(positions, passed, 0.into()), dim);
    B::float_gather(dim, dx, source)
}

fn narrow<B: Backend>(x: &T<B>, dim: usize, range: Range<usize>) -> T<B> {
    B::float_slice(x.clone(), &slices(x.rank(), dim, range))
}

/// A range of one dimension and the whole range of all others.
fn slices(rank: usize, dim: usize, range: Range<usize>) -> Vec<Slice> {
    let mut slices = vec![Slice::full(); rank];
    slices[dim] = Slice::from(range);
    slices
}
