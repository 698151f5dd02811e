//! Sums over all entries of a vector, which neither overflow nor lose small terms where the entries are finite.

use burn::backend::{DispatchTensor, TensorMetadata};
use burn::tensor::{DType, f16};

use crate::float::{self, flex};

/// Below this, squares in single precision may have been lost.
const TINY: f64 = 1e-30;

/// The inner product of lists of tensors in pairs. Waits for the device once, or a few times where the products exceed
/// the range of the element type.
pub(crate) fn dot(pairs: &[(DispatchTensor, DispatchTensor)]) -> f64 {
    #[cfg(feature = "cube")]
    if let Some(sum) = crate::cube::dot(pairs).filter(|sum| is_safe(*sum)) {
        return sum;
    }
    let mut total = 0.0;
    let mut pending = Vec::new();
    for (a, b) in pairs {
        match on_host(a, b) {
            Some(sum) => total += sum,
            None => pending.push((widened(a), widened(b))),
        }
    }
    let sums = pending.iter().map(|(a, b)| float::sum(float::mul(a.clone(), b.clone())));
    let sums = float::read_numbers(sums.collect());
    total
        + sums
            .iter()
            .zip(&pending)
            .map(|(&sum, (a, b))| if is_safe(sum) { sum } else { scaled(a, b) })
            .sum::<f64>()
}

/// The Euclidean norm of a list of tensors.
pub(crate) fn norm(leaves: &[DispatchTensor]) -> f64 {
    let squares = dot(&pairs(leaves));
    let on_device = leaves.iter().any(|leaf| flex(leaf).is_none());
    if squares.is_finite() && (squares > f64::MIN_POSITIVE || on_device) {
        return squares.sqrt();
    }
    let largest = max_abs(leaves);
    if largest == 0.0 || !largest.is_finite() {
        return squares.sqrt();
    }
    let unit: Vec<_> = leaves.iter().map(|leaf| float::div_scalar(leaf.clone(), largest)).collect();
    largest * dot(&pairs(&unit)).sqrt()
}

fn pairs(leaves: &[DispatchTensor]) -> Vec<(DispatchTensor, DispatchTensor)> {
    leaves.iter().map(|leaf| (leaf.clone(), leaf.clone())).collect()
}

fn max_abs(leaves: &[DispatchTensor]) -> f64 {
    let largest = leaves.iter().map(|leaf| float::max_abs(widened(leaf))).collect();
    float::read_numbers(largest).into_iter().fold(0.0, f64::max)
}

/// Whether no entry is NaN or infinite.
pub(crate) fn all_finite<'a>(leaves: impl IntoIterator<Item = &'a DispatchTensor>) -> bool {
    let leaves: Vec<_> = leaves.into_iter().collect();
    #[cfg(feature = "cube")]
    if let Some(flag) = crate::cube::not_finite(leaves.iter().copied()) {
        return float::read_numbers(vec![flag]) == [0.0];
    }
    let mut pending = Vec::new();
    for leaf in leaves {
        match finite_on_host(leaf) {
            Some(true) => {}
            Some(false) => return false,
            // 0 * x is 0 for every finite x and NaN for the others.
            None => pending.push(float::sum(float::mul_scalar(leaf.clone(), 0.0))),
        }
    }
    float::read_numbers(pending).into_iter().all(f64::is_finite)
}

/// In single precision at least: half precision has three digits, and ends at 65504.
fn widened(tensor: &DispatchTensor) -> DispatchTensor {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => float::cast(tensor.clone(), DType::F32),
        _ => tensor.clone(),
    }
}

fn is_safe(sum: f64) -> bool {
    // Entries whose squares vanish in single precision count as zero: telling them from zero would take another read
    // for every zero gradient.
    sum.is_finite() && (sum == 0.0 || sum.abs() > TINY)
}

/// The inner product of tensors that are first divided by their largest entries.
fn scaled(a: &DispatchTensor, b: &DispatchTensor) -> f64 {
    let largest = [a, b].map(|side| float::max_abs(side.clone())).to_vec();
    let largest = float::read_numbers(largest);
    if largest.contains(&0.0) {
        // Zero, or not a number where the other one is not.
        let sum = float::sum(float::mul(a.clone(), b.clone()));
        return float::read_numbers(vec![sum])[0];
    }
    let unit = |side: &DispatchTensor, by| float::div_scalar(side.clone(), by);
    let sum = float::sum(float::mul(unit(a, largest[0]), unit(b, largest[1])));
    largest[0] * largest[1] * float::read_numbers(vec![sum])[0]
}

/// The sum in double precision of tensors in host memory, in one pass.
fn on_host(a: &DispatchTensor, b: &DispatchTensor) -> Option<f64> {
    let (a, b) = (flex(a)?, flex(b)?);
    match (a.dtype(), b.dtype()) {
        (DType::F32, DType::F32) => {
            Some(sum_of_products(a.as_slice::<f32>()?, b.as_slice::<f32>()?))
        }
        (DType::F64, DType::F64) => {
            Some(sum_of_products(a.as_slice::<f64>()?, b.as_slice::<f64>()?))
        }
        (DType::F16, DType::F16) => {
            Some(sum_of_products(a.as_slice::<f16>()?, b.as_slice::<f16>()?))
        }
        _ => None,
    }
}

fn finite_on_host(a: &DispatchTensor) -> Option<bool> {
    let a = flex(a)?;
    match a.dtype() {
        DType::F32 => Some(a.as_slice::<f32>()?.iter().all(|x| x.is_finite())),
        DType::F64 => Some(a.as_slice::<f64>()?.iter().all(|x| x.is_finite())),
        _ => None,
    }
}

/// Eight partial sums, so that one addition need not wait for the last.
fn sum_of_products<E: Copy + Into<f64>>(a: &[E], b: &[E]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (heads, a_rest) = a.as_chunks::<LANES>();
    let (others, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in heads.iter().zip(others) {
        for lane in 0..LANES {
            sums[lane] += x[lane].into() * y[lane].into();
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&x, &y)| x.into() * y.into()).sum();
    sums.into_iter().sum::<f64>() + rest
}
