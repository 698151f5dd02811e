//! Scattering, concatenation and sampling.

use burn::backend::Backend;
use burn::backend::ops::GridSampleOptions;
use burn::backend::ops::grid_sample::float_grid_sample_2d_ref;
use burn::backend::tensor::{FloatTensor, IndexingUpdateOp};

use crate::dual::tensor::{jointly_linear, no_tangent, zeros_like};
use crate::dual::{Dual, DualTensor};

/// An update `f` of `x` by `values` at indices: assignments and sums are linear in both; products and extrema
/// have no rule.
pub(super) fn update<B: Backend>(
    x: DualTensor<B>,
    values: DualTensor<B>,
    how: IndexingUpdateOp,
    name: &str,
    f: impl Fn(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> DualTensor<B> {
    match how {
        IndexingUpdateOp::Assign | IndexingUpdateOp::Add => jointly_linear(x, values, f),
        _ => {
            let name = format!("{name} with a product, minimum or maximum");
            DualTensor::constant(f(no_tangent(x, &name), no_tangent(values, &name)))
        }
    }
}

/// Concatenates along `dim`; if only some parts have a tangent, the others get zeros.
pub(super) fn cat<B: Backend>(tensors: Vec<DualTensor<B>>, dim: usize) -> DualTensor<B> {
    let tangent = tensors.iter().any(|x| x.tangent.is_some()).then(|| {
        let parts =
            tensors.iter().map(|x| x.tangent.clone().unwrap_or_else(|| zeros_like::<B>(&x.primal)));
        B::float_cat(parts.collect(), dim)
    });
    let primal = B::float_cat(tensors.into_iter().map(|x| x.primal).collect(), dim);
    DualTensor { primal, tangent }
}

/// Samples `x` at the points of `grid`; with tangents, by Burn's reference algorithm on dual numbers.
pub(super) fn grid_sample_2d<B: Backend>(
    x: DualTensor<B>,
    grid: DualTensor<B>,
    options: GridSampleOptions,
) -> DualTensor<B> {
    if x.tangent.is_none() && grid.tangent.is_none() {
        return DualTensor::constant(B::float_grid_sample_2d(x.primal, grid.primal, options));
    }
    let primal = B::float_grid_sample_2d(x.primal.clone(), grid.primal.clone(), options.clone());
    let tangent = float_grid_sample_2d_ref::<Dual<B>>(x, grid, options).tangent;
    DualTensor { primal, tangent }
}
