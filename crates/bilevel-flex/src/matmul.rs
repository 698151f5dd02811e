//! Products of two matrices: by the crate `gemm`, as in Flex, but into memory that is not zeroed first, and
//! on all threads even if one side is narrow.
//!
//! A network with few outputs computes many products of a tall matrix with a narrow one. `gemm` runs these on
//! one thread and writes their results with strides that do not suit its kernels.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Bytes, DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};
use rayon::prelude::*;

use crate::gemm::{Matrix, Real, Threads, product, products};
use crate::tall;

/// From this number of multiplications on, a product is worth more than one thread.
pub(crate) const LARGE: usize = 1 << 20;

/// A side of a result is narrow below this size.
const NARROW: usize = 32;

/// Rows of a tall matrix, or terms of a long sum, that one thread processes: fixed, so that the result does
/// not depend on the number of threads, bit for bit.
pub(crate) const STRETCH: usize = 640;

/// `lhs rhs`, for any rank and type that Flex multiplies.
pub(crate) fn matmul(lhs: FlexTensor, rhs: FlexTensor) -> FlexTensor {
    let values = match lhs.dtype() {
        DType::F32 => tall::product(&lhs, &rhs)
            .or_else(|| of_matrices::<f32>(&lhs, &rhs))
            .map(Bytes::from_elems),
        DType::F64 => of_matrices::<f64>(&lhs, &rhs).map(Bytes::from_elems),
        _ => None,
    };
    let Some(values) = values else {
        return stacks(lhs, rhs);
    };
    let shape = Shape::new([lhs.layout().shape()[0], rhs.layout().shape()[1]]);
    FlexTensor::new(values, Layout::contiguous(shape), lhs.dtype())
}

/// The products of two stacks of matrices; those of Flex for anything else.
fn stacks(lhs: FlexTensor, rhs: FlexTensor) -> FlexTensor {
    let values = match lhs.dtype() {
        DType::F32 => of_stacks::<f32>(&lhs, &rhs).map(Bytes::from_elems),
        DType::F64 => of_stacks::<f64>(&lhs, &rhs).map(Bytes::from_elems),
        _ => None,
    };
    let Some(values) = values else {
        return Flex::float_matmul(lhs, rhs);
    };
    let [pairs, rows, _] = *lhs.layout().shape().as_slice() else { unreachable!("a stack") };
    let shape = Shape::new([pairs, rows, rhs.layout().shape()[2]]);
    FlexTensor::new(values, Layout::contiguous(shape), lhs.dtype())
}

fn of_stacks<T: Real>(lhs: &FlexTensor, rhs: &FlexTensor) -> Option<Vec<T>> {
    let (a, [pairs, m, k]) = stack::<T>(lhs)?;
    let (b, [others, inner, n]) = stack::<T>(rhs)?;
    let work = m * n * k;
    if pairs != others || k != inner || pairs * work == 0 || work >= LARGE {
        return None;
    }
    let share = (LARGE / 8).div_ceil(work);
    Some(products(pairs, [m, n], share, |at| (a(at), b(at))))
}

/// A tensor of three dimensions as matrices by their positions, and its size.
fn stack<'a, T: Real>(
    tensor: &'a FlexTensor,
) -> Option<(impl Fn(usize) -> Matrix<'a, T> + Sync, [usize; 3])> {
    let layout = tensor.layout();
    let size: [usize; 3] = layout.shape().as_slice().try_into().ok()?;
    let &[pair, row, column] = layout.strides() else { return None };
    let step = usize::try_from(pair).ok()?;
    let strides = [usize::try_from(row).ok()?, usize::try_from(column).ok()?];
    if tensor.dtype() != T::dtype() {
        return None;
    }
    let data = tensor.storage::<T>().get(layout.start_offset()..)?;
    Some((move |at| Matrix::new(&data[at * step..], [size[1], size[2]], strides), size))
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
        return Some(by_stretches(a, b, [m, n]));
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

/// A narrow result with many rows that `tall` does not compute: each thread computes some rows.
fn by_stretches<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, [m, n]: [usize; 2]) -> Vec<T> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(sizes: [usize; 3]) -> FlexTensor {
        let number = |at: usize| ((at * 7 + 3) % 11) as f32 - 5.0;
        let values: Vec<_> = (0..sizes.iter().product()).map(number).collect();
        let layout = Layout::contiguous(Shape::new(sizes));
        FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
    }

    /// Of small integers: summation is exact in any order.
    #[test]
    fn stacks_of_any_order_are_multiplied_as_by_flex() {
        for [pairs, m, k, n] in [[1, 1, 1, 1], [3, 4, 5, 6], [70, 10, 40, 40], [100, 40, 10, 1]] {
            let (a, b) = (stack([pairs, m, k]), stack([pairs, k, n]));
            let turned = |of: &FlexTensor| of.transpose(1, 2).to_contiguous().transpose(1, 2);
            let wide = Flex::float_expand(a.narrow(0, 0, 1), Shape::new([pairs, m, k]));
            for (a, b) in [
                (a.clone(), b.clone()),
                (turned(&a), b.clone()),
                (a.clone(), turned(&b)),
                (wide, b.clone()),
            ] {
                let expected = Flex::float_matmul(a.clone(), b.clone());
                let found = matmul(a, b);
                assert_eq!(found.layout().shape(), expected.layout().shape());
                assert_eq!(
                    found.as_slice::<f32>().unwrap(),
                    expected.to_contiguous().as_slice::<f32>().unwrap()
                );
            }
        }
    }
}
