//! Products of small matrices. `gemm` copies its operands into the order that its kernels read, which takes up to half of
//! the time where a side has a few dozen entries.

use std::cell::Cell;

use pulp::{Arch, NullaryFnOnce};

use super::Real;
use crate::gemm::{self, Matrix, MatrixMut, Store, Threads};

/// From this number of multiplications on, `gemm` is as fast.
const LARGE: usize = 1 << 16;

/// A matrix in row-major order, or its transpose.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a, T> {
    /// The entries.
    pub entries: &'a [T],
    /// Whether the entries are those of the transpose.
    pub transposed: bool,
}

impl<'a, T: Real> Factor<'a, T> {
    fn matrix(self, [rows, columns]: [usize; 2]) -> Matrix<'a, T> {
        match self.transposed {
            false => Matrix::rows(self.entries, [rows, columns]),
            true => Matrix::rows(self.entries, [columns, rows]).transposed(),
        }
    }

    fn transpose(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

/// `out = a b` of sizes `[m, k]` and `[k, n]`, in row-major order.
///
/// # Panics
/// If the slices are shorter than the matrices.
pub fn product<T: Real>(out: &mut [T], a: Factor<'_, T>, b: Factor<'_, T>, [m, k, n]: [usize; 3]) {
    // It has a kernel for columns.
    if m * k * n >= LARGE || (n == 1 && !a.transposed) {
        let (a, b) = (a.matrix([m, k]), b.matrix([k, n]));
        return gemm::multiply(MatrixMut::rows(out, [m, n]), a, b, Store::Replace, Threads::One);
    }
    let (out, a_len, b_len) = (&mut out[..m * n], m * k, k * n);
    let a = Factor { entries: &a.entries[..a_len], ..a };
    let b = Factor { entries: &b.entries[..b_len], ..b };
    // The transpose of a row, which is summed along the rows of the other factor.
    if n == 1 {
        return rows(out, b.transpose(), a.entries, [1, k, m]);
    }
    if !b.transposed {
        return rows(out, a, b.entries, [m, k, n]);
    }
    thread_local! {
        /// The second factor by rows. As f64, so that it is aligned for either type.
        static PACKED: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
    }
    let mut packed = PACKED.take();
    if packed.len() < b_len {
        packed.resize(b_len, 0.0);
    }
    let by_rows = &mut super::numbers_mut::<T>(&mut packed)[..b_len];
    for (column, entries) in b.entries.chunks_exact(k).enumerate() {
        for (row, &entry) in entries.iter().enumerate() {
            by_rows[row * n + column] = entry;
        }
    }
    rows(out, a, by_rows, [m, k, n]);
    PACKED.set(packed);
}

fn rows<T: Real>(out: &mut [T], a: Factor<'_, T>, b: &[T], sizes: [usize; 3]) {
    match Arch::new() {
        Arch::Scalar => Rows::<T, false> { out, a, b, sizes }.call(),
        vectors => vectors.dispatch(Rows::<T, true> { out, a, b, sizes }),
    }
}

/// A product whose second factor lies in memory by rows; `FUSED` where an instruction multiplies and adds.
struct Rows<'a, T, const FUSED: bool> {
    out: &'a mut [T],
    a: Factor<'a, T>,
    b: &'a [T],
    sizes: [usize; 3],
}

impl<T: Real, const FUSED: bool> NullaryFnOnce for Rows<'_, T, FUSED> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { out, a, b, sizes: [m, k, n] } = self;
        // The entries of the first factor by row and term.
        let (by_row, by_term) = if a.transposed { (1, m) } else { (k, 1) };
        let entry = |row: usize, term: usize| a.entries[row * by_row + term * by_term];
        out.fill(T::ZERO);
        for (pair, out) in out.chunks_mut(2 * n).enumerate() {
            let row = 2 * pair;
            let (one, two) = out.split_at_mut(n);
            let mut term = 0;
            while term + 4 <= k {
                let b: [&[T]; 4] = [0, 1, 2, 3].map(|at| &b[(term + at) * n..][..n]);
                let left = |row| [0, 1, 2, 3].map(|at| entry(row, term + at));
                if two.is_empty() {
                    add_four::<T, FUSED>(one, left(row), b);
                } else {
                    add_four_to_two::<T, FUSED>(one, two, left(row), left(row + 1), b);
                }
                term += 4;
            }
            for term in term..k {
                let b = &b[term * n..][..n];
                add_one::<T, FUSED>(one, entry(row, term), b);
                if !two.is_empty() {
                    add_one::<T, FUSED>(two, entry(row + 1, term), b);
                }
            }
        }
    }
}

#[inline(always)]
fn multiply_add<T: Real, const FUSED: bool>(a: T, b: T, c: T) -> T {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `out += a b`
#[inline(always)]
fn add_one<T: Real, const FUSED: bool>(out: &mut [T], a: T, b: &[T]) {
    for (out, &b) in out.iter_mut().zip(b) {
        *out = multiply_add::<T, FUSED>(a, b, *out);
    }
}

/// `out += a0 b0 + a1 b1 + a2 b2 + a3 b3`
#[inline(always)]
fn add_four<T: Real, const FUSED: bool>(out: &mut [T], a: [T; 4], b: [&[T]; 4]) {
    for ((((out, &b0), &b1), &b2), &b3) in out.iter_mut().zip(b[0]).zip(b[1]).zip(b[2]).zip(b[3]) {
        *out = four::<T, FUSED>(*out, a, [b0, b1, b2, b3]);
    }
}

/// The same for two rows, which reads the second factor once.
#[inline(always)]
fn add_four_to_two<T: Real, const FUSED: bool>(
    one: &mut [T],
    two: &mut [T],
    a: [T; 4],
    c: [T; 4],
    b: [&[T]; 4],
) {
    let rows = one.iter_mut().zip(two);
    for (((((one, two), &b0), &b1), &b2), &b3) in rows.zip(b[0]).zip(b[1]).zip(b[2]).zip(b[3]) {
        *one = four::<T, FUSED>(*one, a, [b0, b1, b2, b3]);
        *two = four::<T, FUSED>(*two, c, [b0, b1, b2, b3]);
    }
}

#[inline(always)]
fn four<T: Real, const FUSED: bool>(sum: T, a: [T; 4], b: [T; 4]) -> T {
    let sum = multiply_add::<T, FUSED>(a[0], b[0], sum);
    let sum = multiply_add::<T, FUSED>(a[1], b[1], sum);
    let sum = multiply_add::<T, FUSED>(a[2], b[2], sum);
    multiply_add::<T, FUSED>(a[3], b[3], sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: summation is exact in any order.
    fn numbers(count: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect()
    }

    #[test]
    fn products_of_all_sizes_and_orders_are_those_of_the_sums() {
        for [m, k, n] in
            [[1, 1, 1], [4, 7, 16], [5, 3, 1], [1, 9, 25], [10, 1, 40], [7, 40, 33], [50, 50, 50]]
        {
            let (a, b) = (numbers(m * k), numbers(k * n));
            for (left, right) in [(false, false), (false, true), (true, false), (true, true)] {
                let entry = |of: &[f64], [rows, columns]: [usize; 2], turned: bool, i, j| {
                    if turned { of[j * rows + i] } else { of[i * columns + j] }
                };
                let sum = |i, j| -> f64 {
                    let term = |l| entry(&a, [m, k], left, i, l) * entry(&b, [k, n], right, l, j);
                    (0..k).map(term).sum()
                };
                let mut out = vec![f64::NAN; m * n];
                let factor = |entries, transposed| Factor { entries, transposed };
                product(&mut out, factor(&a, left), factor(&b, right), [m, k, n]);
                let single: Vec<f32> = {
                    let narrow = |of: &[f64]| of.iter().map(|&x| x as f32).collect::<Vec<_>>();
                    let (a, b) = (narrow(&a), narrow(&b));
                    let mut out = vec![f32::NAN; m * n];
                    let (a, b) = (
                        Factor { entries: &a[..], transposed: left },
                        Factor { entries: &b[..], transposed: right },
                    );
                    product(&mut out, a, b, [m, k, n]);
                    out
                };
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    assert_eq!(out[i * n + j], sum(i, j), "{m} {k} {n} {left} {right}");
                    assert_eq!(f64::from(single[i * n + j]), sum(i, j));
                }
            }
        }
    }
}
