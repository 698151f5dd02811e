//! Products of a matrix of many rows with one of few columns, as dot products of rows.
//!
//! Such are the outputs of a network with few classes. `gemm` computes the columns of a result side by side, so that with
//! ten of them six of the sixteen lanes of a vector compute nothing.

use burn::backend::DType;
use burn_flex::FlexTensor;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::has_multiply_add;
use crate::matmul::{LARGE, STRETCH};

/// The fewest rows: one thread computes [`STRETCH`] at a time. That is fixed, as is the order of each sum, so that the
/// result does not depend on the number of threads, bit for bit.
const ROWS: usize = 2 * STRETCH;

/// From this number of columns on, the columns fill vectors.
const WIDE: usize = 16;

/// The fewest terms: a vector.
const TERMS: usize = 16;

/// Columns that are computed together, of two rows: ten independent sums hide the latency of multiply-adds.
const COLUMNS: usize = 5;

/// `lhs rhs`, row-major, for matrices of f32 of which the first has its rows in memory one after the other; `None` for
/// others.
pub(crate) fn product(lhs: &FlexTensor, rhs: &FlexTensor) -> Option<Vec<f32>> {
    let &[rows, terms] = lhs.layout().shape().as_slice() else { return None };
    let &[inner, columns] = rhs.layout().shape().as_slice() else { return None };
    // Smaller products are those of `gemm` everywhere, also in programs of small tensors.
    let is_large = rows.saturating_mul(terms).saturating_mul(columns) >= LARGE;
    let is_tall = rows >= ROWS && (1..WIDE).contains(&columns) && terms >= TERMS && terms == inner;
    if !(is_large && is_tall && rhs.dtype() == DType::F32 && has_multiply_add()) {
        return None;
    }
    let a = lhs.as_slice::<f32>()?;
    let turned = rhs.transpose(0, 1).to_contiguous();
    let b = turned.as_slice::<f32>()?;
    let mut out = vec![0.0; rows * columns];
    let stretches = out.par_chunks_mut(STRETCH * columns).zip(a.par_chunks(STRETCH * terms));
    stretches.for_each(|(out, a)| Arch::new().dispatch(Stretch { a, b, out, terms, columns }));
    Some(out)
}

/// Some rows of a, and b transposed.
struct Stretch<'a> {
    a: &'a [f32],
    b: &'a [f32],
    out: &'a mut [f32],
    terms: usize,
    columns: usize,
}

impl WithSimd for Stretch<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, out, terms, columns } = self;
        let mut pairs = out.chunks_exact_mut(2 * columns);
        let mut rows = a.chunks_exact(2 * terms);
        for (out, a) in pairs.by_ref().zip(rows.by_ref()) {
            rows_of::<S, 2>(simd, a, b, out, terms);
        }
        if !rows.remainder().is_empty() {
            rows_of::<S, 1>(simd, rows.remainder(), b, pairs.into_remainder(), terms);
        }
    }
}

/// `R` rows of the result.
#[inline(always)]
fn rows_of<S: Simd, const R: usize>(simd: S, a: &[f32], b: &[f32], out: &mut [f32], terms: usize) {
    let columns = out.len() / R;
    let a: [&[f32]; R] = std::array::from_fn(|row| &a[row * terms..(row + 1) * terms]);
    for (block, b) in b.chunks(COLUMNS * terms).enumerate() {
        let at = block * COLUMNS;
        match b.len() / terms {
            1 => dots::<S, R, 1>(simd, a, b, out, columns, at),
            2 => dots::<S, R, 2>(simd, a, b, out, columns, at),
            3 => dots::<S, R, 3>(simd, a, b, out, columns, at),
            4 => dots::<S, R, 4>(simd, a, b, out, columns, at),
            _ => dots::<S, R, COLUMNS>(simd, a, b, out, columns, at),
        }
    }
}

/// The products of `R` rows with `N` columns, the first of which is column `at` of the result.
#[allow(clippy::needless_range_loop, reason = "several arrays are indexed side by side")]
#[inline(always)]
fn dots<S: Simd, const R: usize, const N: usize>(
    simd: S,
    a: [&[f32]; R],
    b: &[f32],
    out: &mut [f32],
    columns: usize,
    at: usize,
) {
    let terms = a[0].len();
    let b: [&[f32]; N] = std::array::from_fn(|column| &b[column * terms..(column + 1) * terms]);
    let (heads, tails) = (a.map(|row| S::as_simd_f32s(row).0), a.map(|row| S::as_simd_f32s(row).1));
    let (others, rests) =
        (b.map(|row| S::as_simd_f32s(row).0), b.map(|row| S::as_simd_f32s(row).1));
    let len = heads[0].len();
    let (heads, others) = (heads.map(|row| &row[..len]), others.map(|row| &row[..len]));
    let mut sums = [[simd.splat_f32s(0.0); N]; R];
    for place in 0..len {
        let x: [S::f32s; R] = std::array::from_fn(|row| heads[row][place]);
        for column in 0..N {
            let y = others[column][place];
            for row in 0..R {
                sums[row][column] = simd.mul_add_f32s(x[row], y, sums[row][column]);
            }
        }
    }
    if !tails[0].is_empty() {
        let x: [S::f32s; R] = std::array::from_fn(|row| simd.partial_load_f32s(tails[row]));
        for column in 0..N {
            let y = simd.partial_load_f32s(rests[column]);
            for row in 0..R {
                sums[row][column] = simd.mul_add_f32s(x[row], y, sums[row][column]);
            }
        }
    }
    for row in 0..R {
        for column in 0..N {
            out[row * columns + at + column] = simd.reduce_sum_f32s(sums[row][column]);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::ops::FloatTensorOps;
    use burn::backend::{Bytes, Shape};
    use burn_flex::{Flex, Layout};

    use super::*;

    /// Small integers: summation is exact in any order.
    fn matrix(sizes: [usize; 2], salt: usize) -> FlexTensor {
        let number = |at: usize| ((at * 7 + salt * 5 + 3) % 11) as f32 - 5.0;
        let values: Vec<_> = (0..sizes[0] * sizes[1]).map(number).collect();
        let layout = Layout::contiguous(Shape::new(sizes));
        FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
    }

    /// Of each number of columns, with terms left over by any vector, and an odd number of rows.
    #[test]
    fn products_of_few_columns_are_those_of_flex() {
        for columns in 1..WIDE {
            for terms in [16, 37, 300] {
                let rows = ROWS.max(LARGE / (terms * columns)) + 1 + terms % 2;
                let (a, b) = (matrix([rows, terms], 1), matrix([columns, terms], 2));
                for b in [b.transpose(0, 1), b.transpose(0, 1).to_contiguous()] {
                    let expected = Flex::float_matmul(a.clone(), b.clone()).to_contiguous();
                    let found = product(&a, &b).expect("it is tall");
                    assert_eq!(found, expected.as_slice::<f32>().unwrap(), "{columns}, {terms}");
                }
            }
        }
    }

    #[test]
    fn other_matrices_are_left_to_others() {
        let (tall, few) = (matrix([ROWS, 300], 1), matrix([300, 3], 2));
        assert!(product(&tall, &few).is_some());
        let turned = matrix([300, ROWS], 1).transpose(0, 1);
        assert!(product(&turned, &few).is_none(), "its rows are not in order");
        let [few_rows, long] = [matrix([ROWS - 1, 400], 1), matrix([400, 3], 2)];
        assert!(product(&few_rows, &long).is_none(), "few rows");
        assert!(product(&tall, &matrix([300, WIDE], 2)).is_none(), "many columns");
        let (many_rows, short) = (matrix([40_000, 15], 1), matrix([15, 3], 2));
        assert!(product(&many_rows, &short).is_none(), "few terms");
        let (small, few) = (matrix([ROWS, 200], 1), matrix([200, 3], 2));
        assert!(product(&small, &few).is_none(), "few multiplications");
    }

    /// Of numbers whose sums round.
    #[test]
    fn the_number_of_threads_does_not_matter() {
        let number = |at: usize| (at as f32 * 0.37).sin();
        let sizes = [ROWS + 301, 100];
        let values: Vec<_> = (0..sizes[0] * sizes[1]).map(number).collect();
        let layout = Layout::contiguous(Shape::new(sizes));
        let a = FlexTensor::new(Bytes::from_elems(values), layout, DType::F32);
        let b = matrix([100, 10], 2);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| product(&a, &b)).expect("it is tall")
        };
        let one = on(1);
        assert!([2, 3].map(on).iter().all(|found| found == &one));
    }
}
