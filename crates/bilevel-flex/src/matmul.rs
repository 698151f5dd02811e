//! Products of two matrices: by the crate `gemm`, as in Flex, but into memory that is not zeroed first, and
//! on all threads even if one side is narrow.
//!
//! A network with few outputs computes many products of a tall matrix with a narrow one. `gemm` runs these on
//! one thread and writes their results with strides that do not suit its kernels.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Bytes, DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};
use rayon::prelude::*;

use crate::gemm::{Matrix, Real, Threads, product};

/// From this number of multiplications on, a product is worth more than one thread.
const LARGE: usize = 1 << 20;

/// A side of a result is narrow below this size.
const NARROW: usize = 32;

/// Rows of a tall matrix, or terms of a long sum, that one thread processes: fixed, so that the result does
/// not depend on the number of threads, bit for bit.
const STRETCH: usize = 640;

/// `lhs rhs`, for any rank and type that Flex multiplies.
pub(crate) fn matmul(lhs: FlexTensor, rhs: FlexTensor) -> FlexTensor {
    let values = match lhs.dtype() {
        DType::F32 => of_matrices::<f32>(&lhs, &rhs).map(Bytes::from_elems),
        DType::F64 => of_matrices::<f64>(&lhs, &rhs).map(Bytes::from_elems),
        _ => None,
    };
    let Some(values) = values else {
        return Flex::float_matmul(lhs, rhs);
    };
    let shape = Shape::new([lhs.layout().shape()[0], rhs.layout().shape()[1]]);
    FlexTensor::new(values, Layout::contiguous(shape), lhs.dtype())
}

/// The product of two matrices, row-major; `None` for anything else.
fn of_matrices<T: Real>(lhs: &FlexTensor, rhs: &FlexTensor) -> Option<Vec<T>> {
    let (a, [m, k]) = matrix::<T>(lhs)?;
    let (b, [inner, n]) = matrix::<T>(rhs)?;
    if k != inner || m * n == 0 || k == 0 {
        return None;
    }
    if m.saturating_mul(n).saturating_mul(k) < LARGE {
        return Some(product(a, b, Threads::One));
    }
    let is_transposed = lhs.layout().strides()[0] < lhs.layout().strides()[1];
    if is_transposed && k >= 2 * STRETCH && m.min(n) < NARROW && k / STRETCH * m * n < LARGE {
        return Some(long_sums(a, b, [m, n, k]));
    }
    if m >= 2 * STRETCH && n < NARROW {
        return Some(tall(a, b, [m, n]));
    }
    Some(product(a, b, Threads::All))
}

/// A narrow result of long sums: each thread computes a part of each sum.
fn long_sums<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, [m, n, k]: [usize; 3]) -> Vec<T> {
    // Computed as the transpose of `b' a'` if that has the longer rows.
    if n < m {
        let transposed = long_sums(b.transposed(), a.transposed(), [n, m, k]);
        return (0..m * n).map(|at| transposed[at % n * m + at / n]).collect();
    }
    let part = |stretch: usize| {
        let terms = stretch * STRETCH..k.min((stretch + 1) * STRETCH);
        product(a.transposed().rows_in(terms.clone()).transposed(), b.rows_in(terms), Threads::One)
    };
    let parts: Vec<Vec<T>> = (0..k.div_ceil(STRETCH)).into_par_iter().map(part).collect();
    let add = |mut sum: Vec<T>, part: Vec<T>| {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum = *sum + part);
        sum
    };
    parts.into_iter().reduce(add).unwrap_or_default()
}

/// A narrow result with many rows: each thread computes some rows.
fn tall<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, [m, n]: [usize; 2]) -> Vec<T> {
    let rows = |stretch: usize| {
        let rows = stretch * STRETCH..m.min((stretch + 1) * STRETCH);
        product(a.rows_in(rows), b, Threads::One)
    };
    let parts: Vec<Vec<T>> = (0..m.div_ceil(STRETCH)).into_par_iter().map(rows).collect();
    let mut out = Vec::with_capacity(m * n);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A tensor of two dimensions as a matrix, and its size.
fn matrix<T: Real>(tensor: &FlexTensor) -> Option<(Matrix<'_, T>, [usize; 2])> {
    let layout = tensor.layout();
    let size: [usize; 2] = layout.shape().as_slice().try_into().ok()?;
    let &[row, column] = layout.strides() else { return None };
    let strides = [usize::try_from(row).ok()?, usize::try_from(column).ok()?];
    if tensor.dtype() != T::dtype() {
        return None;
    }
    let data = tensor.storage::<T>().get(layout.start_offset()..)?;
    Some((Matrix::new(data, size, strides), size))
}
