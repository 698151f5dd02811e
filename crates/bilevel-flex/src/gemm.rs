//! A safe interface to the crate `gemm`: products of matrices stored in slices with arbitrary strides.
//!
//! The crate takes raw pointers; this is the reason for the `unsafe` code here.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::Element;
use bytemuck::Pod;
use rayon::prelude::*;

/// The element types for which `gemm` has kernels: it accepts any type and panics for the others.
pub(crate) trait Real: Element + Pod + num_traits::Float + Send + Sync {}

impl Real for f32 {}
impl Real for f64 {}

/// The layout of a matrix in a slice: entry (i, j) at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy, Debug)]
struct Place {
    rows: usize,
    columns: usize,
    row_stride: isize,
    column_stride: isize,
}

impl Place {
    /// # Panics
    ///
    /// If an entry lies beyond `len`.
    fn new(
        len: usize,
        [rows, columns]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Self {
        let last = || {
            let row = (rows - 1).checked_mul(row_stride)?;
            row.checked_add((columns - 1).checked_mul(column_stride)?)
        };
        let inside = rows == 0 || columns == 0 || last().is_some_and(|last| last < len);
        assert!(
            inside,
            "{rows} x {columns} by strides {row_stride}, {column_stride} in {len} numbers"
        );
        let signed = |stride: usize| isize::try_from(stride).expect("a stride within a slice");
        Self { rows, columns, row_stride: signed(row_stride), column_stride: signed(column_stride) }
    }

    /// Whether all entries are at distinct positions.
    fn is_distinct(&self) -> bool {
        let row = (self.rows, self.row_stride);
        let column = (self.columns, self.column_stride);
        let (inner, outer) = if row.1 < column.1 { (row, column) } else { (column, row) };
        let reach = (inner.0.saturating_sub(1) as isize).saturating_mul(inner.1);
        let none = self.rows == 0 || self.columns == 0;
        none || (inner.0 <= 1 || inner.1 > 0) && (outer.0 <= 1 || outer.1 > reach)
    }

    fn transposed(self) -> Self {
        let Self { rows, columns, row_stride, column_stride } = self;
        Self { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }
}

/// A matrix to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    place: Place,
}

impl<'a, T> Matrix<'a, T> {
    /// Entry (i, j) at `i * strides[0] + j * strides[1]`; a stride of 0 broadcasts.
    ///
    /// # Panics
    ///
    /// If an entry lies beyond the slice.
    pub(crate) fn new(data: &'a [T], size: [usize; 2], strides: [usize; 2]) -> Self {
        Self { data, place: Place::new(data.len(), size, strides) }
    }

    /// Row-major, without gaps.
    pub(crate) fn rows(data: &'a [T], size: [usize; 2]) -> Self {
        Self::new(data, size, [size[1], 1])
    }

    pub(crate) fn transposed(self) -> Self {
        Self { place: self.place.transposed(), ..self }
    }

    /// The rows of a range.
    ///
    /// # Panics
    ///
    /// If the range exceeds the rows.
    pub(crate) fn rows_in(self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.place.rows,
            "{range:?} of {:?}",
            self.place
        );
        let begin = (range.start * self.place.row_stride as usize).min(self.data.len());
        let place = Place { rows: range.len(), ..self.place };
        Self { data: &self.data[begin..], place }
    }
}

/// A matrix to write.
#[derive(Debug)]
pub(crate) struct MatrixMut<'a, T> {
    data: &'a mut [T],
    place: Place,
}

impl<'a, T> MatrixMut<'a, T> {
    /// Entry (i, j) at `i * strides[0] + j * strides[1]`.
    ///
    /// # Panics
    ///
    /// If an entry lies beyond the slice, or two entries coincide.
    pub(crate) fn new(data: &'a mut [T], size: [usize; 2], strides: [usize; 2]) -> Self {
        let place = Place::new(data.len(), size, strides);
        assert!(place.is_distinct(), "entries of {place:?} share a number");
        Self { data, place }
    }

    /// Row-major, without gaps.
    pub(crate) fn rows(data: &'a mut [T], size: [usize; 2]) -> Self {
        Self::new(data, size, [size[1], 1])
    }
}

/// What happens to the previous contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Replace,
    Add,
}

/// Who computes a product. The result does not depend on the number of threads, bit for bit; it may depend on
/// the variant, because `One` always lets `gemm` choose where to split long sums, and `All` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling thread.
    One,
    /// The threads of the current rayon pool, if the product is large enough.
    All,
}

/// `into = a b` or `into += a b`.
///
/// # Panics
///
/// If the sizes do not match.
pub(crate) fn multiply<T: Real>(
    into: MatrixMut<'_, T>,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    store: Store,
    threads: Threads,
) {
    // SAFETY: every entry of `into` lies within its slice, which is borrowed exclusively, and the entries are
    // distinct, as its constructor has checked.
    unsafe { multiply_into(into.data.as_mut_ptr(), into.place, a, b, store, threads) }
}

/// `a b`, row-major.
///
/// # Panics
///
/// If the sizes do not match.
pub(crate) fn product<T: Real>(a: Matrix<'_, T>, b: Matrix<'_, T>, threads: Threads) -> Vec<T> {
    let (rows, columns) = (a.place.rows, b.place.columns);
    let len = rows.checked_mul(columns).expect("a matrix that fits the memory");
    // `gemm` treats a result with one row or column as a slice, whose elements must be initialised.
    let single = rows == 1 || columns == 1;
    let mut out = if single { vec![T::zero(); len] } else { Vec::with_capacity(len) };
    let place = Place::new(len, [rows, columns], [columns, 1]);
    // SAFETY: the buffer has room for `len` elements, and `place` maps every entry to a different one of
    // them. They are not read, no reference to them is created unless they are zeros, and all of them are
    // written before the length is set.
    unsafe {
        multiply_into(out.as_mut_ptr(), place, a, b, Store::Replace, threads);
        out.set_len(len);
    }
    out
}

/// The products of pairs of matrices, one after the other, each `[rows, columns]` and row-major; `share` pairs are
/// worth a thread.
///
/// # Panics
///
/// If the sizes do not match.
pub(crate) fn products<'a, T: Real>(
    pairs: usize,
    [rows, columns]: [usize; 2],
    share: usize,
    pair: impl Fn(usize) -> (Matrix<'a, T>, Matrix<'a, T>) + Sync,
) -> Vec<T> {
    let len = rows * columns;
    let all = pairs.checked_mul(len).expect("matrices that fit the memory");
    if all == 0 {
        return Vec::new();
    }
    let mut out = Vec::with_capacity(all);
    let place = Place::new(len, [rows, columns], [columns, 1]);
    let fill = |(chunk, out): (usize, &mut [MaybeUninit<T>])| {
        if rows == 1 || columns == 1 {
            // As in `product`.
            out.fill(MaybeUninit::new(T::zero()));
        }
        for (at, out) in out.chunks_exact_mut(len).enumerate() {
            let (a, b) = pair(chunk * share + at);
            // SAFETY: `out` has room for `len` elements, and `place` maps every entry to a different one of them; they
            // are initialised where `gemm` makes a slice of them, and not read elsewhere.
            unsafe {
                multiply_into(out.as_mut_ptr().cast(), place, a, b, Store::Replace, Threads::One);
            }
        }
    };
    let spare = &mut out.spare_capacity_mut()[..all];
    if pairs <= share {
        fill((0, spare));
    } else {
        spare.par_chunks_mut(share * len).enumerate().for_each(fill);
    }
    // SAFETY: the chunks cover all elements, and each product writes `len` of them.
    unsafe { out.set_len(all) };
    out
}

/// Rows that one thread multiplies at a time: `gemm` copies its operands, all at once.
const MOST: usize = 640;

/// The same where the terms of each row follow each other in memory: on x86 `gemm` usually reads such rows in place.
const MOST_IN_PLACE: usize = 1280;

/// The minimum number of rows worth a thread.
const LEAST: usize = 8;

/// Up to this many results, `gemm` sums each along the rows of both factors, in another order than for more
/// results.
const FEW: usize = 256;

/// The number of terms that are summed in one go: few enough for copies of both operands to stay in cache (measured).
/// At most 512, which `gemm` sums in one go whatever the size of the result.
const TERMS: usize = 256;

const _: () = assert!(TERMS <= 512);

/// For a result with a longer side, `gemm` divides sums by the number of terms alone. The shorter side of a result is not
/// divided among threads: if it is longer, so is that side of each part.
const WIDE: usize = 64;

/// # Safety
///
/// Every entry of `c` maps to its own element behind `into`, which nobody else uses; the elements are
/// initialised if they are added to.
unsafe fn multiply_into<T: Real>(
    into: *mut T,
    c: Place,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    store: Store,
    threads: Threads,
) {
    let (from, a, b) = ((a.data, b.data), a.place, b.place);
    assert_eq!((a.columns, c.rows, c.columns), (b.rows, a.rows, b.columns), "{c:?} = {a:?} {b:?}");
    let (into, left, right) = (SharedPtr(into), from.0.as_ptr(), from.1.as_ptr());
    let (left, right) = (SharedPtr(left.cast_mut()), SharedPtr(right.cast_mut()));
    // Some of the terms, for a part of the longer side of c. Separate products on each thread are faster than
    // one product that `gemm` splits between threads.
    let part = |range: Range<usize>, terms: Range<usize>| {
        let (rows, columns, at) = if c.rows >= c.columns {
            let at = range.start as isize;
            (range.len(), c.columns, [at * c.row_stride, at * a.row_stride, 0])
        } else {
            let at = range.start as isize;
            (c.rows, range.len(), [at * c.column_stride, 0, at * b.column_stride])
        };
        let add = store == Store::Add || terms.start > 0;
        let (start, count) = (terms.start as isize, terms.len());
        // SAFETY: T is f32 or f64. Every entry of a and b lies within its slice, as `Place::new` has checked,
        // and every entry of c where the caller guarantees it; the slices outlive the call, and a and b are
        // only read. The parts share no entry of c, and its entries are distinct, so no two threads write the
        // same element. Previous contents are read only if they are added to, or after the first terms have
        // been written.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                count,
                into.at(at[0]),
                c.column_stride,
                c.row_stride,
                add,
                left.at(at[1] + start * a.column_stride),
                a.column_stride,
                a.row_stride,
                right.at(at[2] + start * b.row_stride),
                b.column_stride,
                b.row_stride,
                T::one(),
                T::one(),
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    };
    let terms = a.columns;
    if threads == Threads::One {
        return part(0..c.rows.max(c.columns), 0..terms);
    }
    // The bits of a result depend on the kernel that `gemm` selects: it must select the same kernels for a
    // part as for the whole. For this few results it has other kernels, and for single rows too.
    let (side, other) = (c.rows.max(c.columns), c.rows.min(c.columns).max(1));
    let least = (FEW / other + 1).max(LEAST);
    // `gemm` reads the factor with the rows of a row-major result in place if its terms follow each other.
    let is_row_major = c.column_stride <= c.row_stride;
    let follow = if is_row_major { a.column_stride == 1 } else { b.row_stride == 1 };
    let most = if follow { MOST_IN_PLACE } else { MOST };
    let threads = rayon::current_num_threads();
    let parts = (threads * side.div_ceil(threads * most)).min(side / least).max(1);
    let stretches = if follow && other > WIDE { 1 } else { terms.div_ceil(TERMS).max(1) };
    let share = |at, shares, of| at * of / shares..(at + 1) * of / shares;
    let all_terms = |at: usize| {
        (0..stretches)
            .for_each(|stretch| part(share(at, parts, side), share(stretch, stretches, terms)));
    };
    if parts == 1 { all_terms(0) } else { (0..parts).into_par_iter().for_each(all_terms) }
}

/// Elements shared between threads.
#[derive(Clone, Copy)]
struct SharedPtr<T>(*mut T);

// SAFETY: the pointer is used only where it is dereferenced, with a separate justification there.
unsafe impl<T: Send> Send for SharedPtr<T> {}
// SAFETY: likewise.
unsafe impl<T: Sync> Sync for SharedPtr<T> {}

impl<T> SharedPtr<T> {
    /// A pointer to the element at this offset, which need not exist.
    fn at(self, offset: isize) -> *mut T {
        self.0.wrapping_offset(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: summation is exact in any order.
    fn numbers(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect()
    }

    #[test]
    fn products_by_any_strides_are_those_of_the_sums() {
        for [m, n, k] in [
            [1, 1, 1],
            [3, 5, 2],
            [7, 1, 9],
            [1, 8, 4],
            [40, 33, 70],
            [64, 100, 0],
            [40, 0, 9],
            [0, 3, 2],
        ] {
            for gap in [0, 3] {
                let (a, b) = (numbers(m * (k + gap) + 1), numbers(n * (k + gap) + 1));
                let left = Matrix::new(&a, [m, k], [k + gap, 1]);
                let right = Matrix::new(&b, [n, k], [k + gap, 1]).transposed();
                let sum = |i: usize, j: usize| -> f64 {
                    (0..k).map(|l| a[i * (k + gap) + l] * b[j * (k + gap) + l]).sum()
                };
                for threads in [Threads::One, Threads::All] {
                    let mut c = vec![1.0; n * (m + gap)];
                    let into = |c| MatrixMut::new(c, [m, n], [1, m + gap]);
                    multiply(into(&mut c), left, right, Store::Add, threads);
                    let mut d = vec![f64::NAN; m * n];
                    multiply(MatrixMut::rows(&mut d, [m, n]), left, right, Store::Replace, threads);
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        assert_eq!(c[j * (m + gap) + i], 1.0 + sum(i, j));
                        assert_eq!(d[i * n + j], sum(i, j));
                    }
                    assert!(
                        c.chunks((m + gap).max(1))
                            .all(|column| column[m..].iter().all(|&x| x == 1.0))
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "2 x 3 by strides 3, 1 in 5 numbers")]
    fn an_entry_beyond_the_slice_is_refused() {
        Matrix::rows(&[0.0; 5], [2, 3]);
    }

    #[test]
    #[should_panic(expected = "in 5 numbers")]
    fn a_stride_that_overflows_is_refused() {
        Matrix::new(&[0.0; 5], [3, 1], [usize::MAX, 1]);
    }

    #[test]
    #[should_panic(expected = "share a number")]
    fn entries_that_share_a_number_are_not_written() {
        MatrixMut::new(&mut [0.0; 9], [3, 3], [2, 1]);
    }

    /// Parts of empty factors begin beyond the end: no element may be accessed there.
    #[test]
    fn products_without_terms_are_zero() {
        let (a, b) = (Matrix::new(&[], [1000, 0], [3, 1]), Matrix::rows(&[], [0, 1000]));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let sums = pool.install(|| product::<f64>(a, b, Threads::All));
        assert_eq!(sums, vec![0.0; 1_000_000]);
    }

    #[test]
    fn products_without_results_are_empty() {
        for [m, n] in [[4, 0], [0, 4], [0, 0]] {
            let (a, b) = (numbers(m * 2), numbers(n * 2));
            let pair = |_| (Matrix::rows(&a, [m, 2]), Matrix::rows(&b, [2, n]));
            assert_eq!(products(3, [m, n], 1, pair), Vec::<f64>::new());
        }
    }

    #[test]
    #[should_panic(expected = "Place { rows: 2, columns: 2")]
    fn sizes_that_do_not_fit_are_refused() {
        let (a, mut c) = ([0.0; 6], [0.0; 4]);
        let square = Matrix::rows(&a, [2, 3]);
        multiply(MatrixMut::rows(&mut c, [2, 2]), square, square, Store::Replace, Threads::One);
    }
}
