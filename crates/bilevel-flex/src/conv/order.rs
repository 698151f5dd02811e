//! The order of channels: in planes, `[channel][pixel]`, or interleaved, `[pixel][channel]`; and that of weights,
//! `[output][input][offset]` outside of this module.
//!
//! Each change of order transposes matrices, in squares of 4 x 4 numbers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m128;
use std::array;

use burn::backend::DType;
#[cfg(target_arch = "x86_64")]
use pulp::core_arch::x86::Sse;

use super::Shape;
use crate::gemm::Real;

/// The side of a square.
const SIDE: usize = 4;

type Square<T> = [[T; SIDE]; SIDE];

#[inline(always)]
fn transposed<T: Real>(square: Square<T>) -> Square<T> {
    // The compiler does not vectorise the general form.
    #[cfg(target_arch = "x86_64")]
    if let (DType::F32, Some(simd)) = (T::dtype(), Sse::try_new()) {
        let [a, b, c, d]: [__m128; SIDE] = bytemuck::cast(square);
        let (low, high) = ([a, b], [c, d]);
        let [ab, cd] = [low, high].map(|[a, b]| simd._mm_unpacklo_ps(a, b));
        let [ab_rest, cd_rest] = [low, high].map(|[a, b]| simd._mm_unpackhi_ps(a, b));
        return bytemuck::cast([
            simd._mm_movelh_ps(ab, cd),
            simd._mm_movehl_ps(cd, ab),
            simd._mm_movelh_ps(ab_rest, cd_rest),
            simd._mm_movehl_ps(cd_rest, ab_rest),
        ]);
    }
    array::from_fn(|column| array::from_fn(|row| square[row][column]))
}

/// A matrix whose rows begin every `stride` numbers.
struct Rows<'a, T> {
    numbers: &'a [T],
    stride: usize,
    size: [usize; 2],
}

impl<T: Real> Rows<'_, T> {
    /// Writes column c to `to[start(c)..]`, with `add[c]` added.
    fn transpose(self, to: &mut [T], start: impl Fn(usize) -> usize, add: Option<&[T]>) {
        let Self { numbers, stride, size: [rows, columns] } = self;
        if rows < SIDE || columns < SIDE {
            let mut put = |row: usize, column: usize| {
                let number = numbers[row * stride + column];
                to[start(column) + row] = add.map_or(number, |add| number + add[column]);
            };
            // The longer loop inside.
            if rows < columns {
                (0..rows).for_each(|row| (0..columns).for_each(|column| put(row, column)));
            } else {
                (0..columns).for_each(|column| (0..rows).for_each(|row| put(row, column)));
            }
            return;
        }
        // The last squares overlap those before.
        let squares = |len: usize| (0..len).step_by(SIDE).map(move |at| at.min(len - SIDE));
        for row in squares(rows) {
            for column in squares(columns) {
                let square = array::from_fn(|at| {
                    let from = &numbers[(row + at) * stride + column..];
                    *from.first_chunk().expect("a row of the square")
                });
                for (column, mut run) in (column..).zip(transposed(square)) {
                    if let Some(add) = add {
                        run = run.map(|x| x + add[column]);
                    }
                    to[start(column) + row..][..SIDE].copy_from_slice(&run);
                }
            }
        }
    }
}

/// Interleaves channels, from planes whose rows have `width` numbers. `rows` gives the first pixel of each row of all
/// images, which do not overlap; pixels between them are 0.
pub(super) fn interleave<T: Real>(
    planes: &[T],
    [channels, height, width]: [usize; 3],
    rows: impl Iterator<Item = usize>,
    pixels: &mut [T],
) {
    let plane = height * width;
    let rows: Vec<_> = rows.collect();
    let in_order = rows.is_sorted();
    if !in_order {
        pixels.fill(T::zero());
    }
    let mut end = 0;
    for (i, row) in rows.into_iter().enumerate() {
        if in_order {
            pixels[end * channels..row * channels].fill(T::zero());
            end = row + width;
        }
        let numbers = &planes[i / height * channels * plane + i % height * width..];
        let matrix = Rows { numbers, stride: plane, size: [channels, width] };
        matrix.transpose(&mut pixels[row * channels..], |x| x * channels, None);
    }
    if in_order {
        pixels[end * channels..].fill(T::zero());
    }
}

/// The inverse, with a bias for each channel.
pub(super) fn separate<T: Real>(
    pixels: &[T],
    [channels, height, width]: [usize; 3],
    rows: impl Iterator<Item = usize>,
    bias: Option<&[T]>,
    planes: &mut [T],
) {
    let plane = height * width;
    for (i, row) in rows.enumerate() {
        let numbers = &pixels[row * channels..];
        let matrix = Rows { numbers, stride: channels, size: [width, channels] };
        let to = &mut planes[i / height * channels * plane + i % height * width..];
        matrix.transpose(to, |channel| channel * plane, bias);
    }
}

/// The weights `[output][input][offset]` as `[place(offset)][input][output]`.
pub(super) fn outputs_last<T: Real>(
    shape: &Shape,
    weight: &[T],
    place: impl Fn(usize) -> usize,
) -> Vec<T> {
    let (inputs, outputs, offsets) = sizes(shape);
    let of_input = |input: usize| Rows {
        numbers: &weight[input * offsets..],
        stride: shape.depth(),
        size: [outputs, offsets],
    };
    arranged(inputs, of_input, |input, offset| (place(offset) * inputs + input) * outputs)
}

/// The weights `[output][input][offset]` as `[place(offset)][output][input]`.
pub(super) fn inputs_last<T: Real>(
    shape: &Shape,
    weight: &[T],
    place: impl Fn(usize) -> usize,
) -> Vec<T> {
    let (inputs, outputs, offsets) = sizes(shape);
    let of_output = |output: usize| Rows {
        numbers: &weight[output * shape.depth()..],
        stride: offsets,
        size: [inputs, offsets],
    };
    arranged(outputs, of_output, |output, offset| (place(offset) * outputs + output) * inputs)
}

/// The weights `[offset][input][output]` as `[output][input][offset]`.
pub(super) fn outputs_first<T: Real>(shape: &Shape, weight: &[T]) -> Vec<T> {
    let (inputs, outputs, offsets) = sizes(shape);
    let of_input = |input: usize| Rows {
        numbers: &weight[input * outputs..],
        stride: inputs * outputs,
        size: [offsets, outputs],
    };
    arranged(inputs, of_input, |input, output| output * shape.depth() + input * offsets)
}

/// Inputs, outputs and offsets of the kernel.
fn sizes(shape: &Shape) -> (usize, usize, usize) {
    (shape.inputs, shape.outputs, shape.kernel[0] * shape.kernel[1])
}

/// The transposes of so many matrices of one size: column c of the i-th begins at `start(i, c)`.
fn arranged<'a, T: Real>(
    count: usize,
    matrix: impl Fn(usize) -> Rows<'a, T>,
    start: impl Fn(usize, usize) -> usize,
) -> Vec<T> {
    let [rows, columns] = matrix(0).size;
    let mut arranged = vec![T::zero(); count * rows * columns];
    for at in 0..count {
        matrix(at).transpose(&mut arranged, |column| start(at, column), None);
    }
    arranged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<T: Real>(count: usize) -> Vec<T> {
        (0..count).map(|at| T::from(at).expect("a small number")).collect()
    }

    fn check<T: Real + std::fmt::Debug>() {
        for (rows, columns, gap) in
            [(1, 1, 0), (3, 9, 1), (4, 4, 0), (9, 64, 3), (14, 7, 0), (5, 2, 2)]
        {
            let stride = columns + gap;
            let from = numbers::<T>(rows * stride);
            let add = numbers::<T>(columns);
            for add in [None, Some(&add[..])] {
                let mut to = vec![T::zero(); rows * columns];
                let matrix = Rows { numbers: &from, stride, size: [rows, columns] };
                // The columns backwards.
                matrix.transpose(&mut to, |column| (columns - 1 - column) * rows, add);
                for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
                    let added = add.map_or(T::zero(), |add| add[column]);
                    let expected = from[row * stride + column] + added;
                    assert_eq!(
                        to[(columns - 1 - column) * rows + row],
                        expected,
                        "{rows} x {columns}"
                    );
                }
            }
        }
    }

    #[test]
    fn matrices_of_any_size_are_transposed() {
        check::<f32>();
        check::<f64>();
    }
}
