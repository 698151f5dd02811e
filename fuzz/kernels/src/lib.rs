//! The files of bilevel-flex that have `unsafe` code, as they stand there, against plain loops.

#[path = "../../../crates/bilevel-flex/src/buffer.rs"]
#[allow(dead_code)]
mod buffer;
#[path = "../../../crates/bilevel-flex/src/gemm.rs"]
#[allow(dead_code)]
mod gemm;

use buffer::Repeat;
use gemm::{Matrix, MatrixMut, Store, Threads};

/// Elements that a thread takes at a time.
pub const CHUNK: usize = buffer::CHUNK;

fn numbers(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7 + 3) % 11) as f64 - 5.0).collect()
}

/// The loops of `buffer.rs` over `length` elements, a second operand being repeated in or along runs of `run`.
///
/// # Panics
/// If a result is not that of a plain loop.
pub fn elements(length: usize, run: usize) {
    let a = numbers(length);
    let twice: Vec<f64> = a.iter().map(|a| 2.0 * a).collect();
    assert_eq!(buffer::map(&a, |a| 2.0 * a), twice);
    assert_eq!(buffer::zip(&a, &a, |a, b| a + b), twice);
    let mut b = a.clone();
    buffer::map_in_place(&mut b, |a| 2.0 * a);
    buffer::zip_in_place(&mut b, &a, |b, a| b - a);
    assert_eq!(a, b);
    let chunked = buffer::in_chunks(length, run, |at, chunk: &mut [f64]| {
        let from = chunk.iter_mut().zip(&twice[at * run..]);
        from.for_each(|(to, from)| *to += from);
    });
    assert_eq!(chunked, twice);
    let runs = length / run;
    let a = &a[..runs * run];
    for (repeat, size) in [(Repeat::All, run), (Repeat::Each(run), runs)] {
        if size == 0 {
            continue;
        }
        let b = numbers(size);
        let at = |i: usize| if matches!(repeat, Repeat::All) { i % run } else { i / run };
        let expected: Vec<f64> = a.iter().enumerate().map(|(i, a)| a - b[at(i)]).collect();
        assert_eq!(buffer::zip_repeated(a, &b, repeat, |a, b| a - b), expected);
        let mut c = a.to_vec();
        buffer::zip_repeated_in_place(&mut c, &b, repeat, |a, b| a - b);
        assert_eq!(c, expected);
    }
}

/// A product of m x k by k x n matrices of `gemm.rs`, with `gap` elements between rows, which must stay as they are.
///
/// # Panics
/// If a result is not that of a plain loop.
pub fn product([m, n, k, gap]: [usize; 4], [transposed, add, all]: [bool; 3]) {
    // No entry to spare behind the last: whatever is read or written beyond it is a find.
    let room = |rows: usize, columns: usize| match rows * columns {
        0 => 0,
        _ => (rows - 1) * (columns + gap) + columns,
    };
    let (a, b) = (numbers(room(m, k)), numbers(room(n, k)));
    let left = Matrix::new(&a, [m, k], [k + gap, 1]);
    let right = Matrix::new(&b, [n, k], [k + gap, 1]).transposed();
    let at = |i: usize, j: usize| if transposed { j * (m + gap) + i } else { i * (n + gap) + j };
    let size = if transposed { room(n, m) } else { room(m, n) };
    let mut c = vec![1.0; size];
    let strides = if transposed { [1, m + gap] } else { [n + gap, 1] };
    let (store, start) = if add { (Store::Add, 1.0) } else { (Store::Replace, 0.0) };
    let threads = if all { Threads::All } else { Threads::One };
    gemm::multiply(MatrixMut::new(&mut c, [m, n], strides), left, right, store, threads);
    let d = gemm::product(left, right, threads);
    let mut seen = vec![false; size];
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let sum: f64 = (0..k).map(|l| a[i * (k + gap) + l] * b[j * (k + gap) + l]).sum();
        assert_eq!((c[at(i, j)], d[i * n + j]), (start + sum, sum));
        seen[at(i, j)] = true;
    }
    let between = c.iter().zip(seen).filter(|(_, seen)| !seen);
    between.for_each(|(c, _)| assert_eq!(*c, 1.0, "written between the entries"));
}

#[cfg(test)]
mod tests {
    /// Around the ends of chunks, which threads share, and where there is nothing.
    #[test]
    fn elements() {
        let long = 5 * super::CHUNK + 2;
        for (length, run) in [(0, 1), (1, 1), (7, 1), (7, 3), (7, 7), (long, 3), (long, 40)] {
            super::elements(length, run);
        }
    }

    #[test]
    fn products() {
        let sizes = [[1, 1, 1], [3, 5, 2], [7, 1, 9], [1, 8, 4], [40, 0, 3], [0, 4, 1], [5, 6, 0]];
        for [m, n, k] in sizes.into_iter().chain([[17, 9, 5]]) {
            for gap in [0, 2] {
                for flags in 0..8 {
                    let flag = |at| flags >> at & 1 == 1;
                    super::product([m, n, k, gap], [flag(0), flag(1), flag(2)]);
                }
            }
        }
    }
}
