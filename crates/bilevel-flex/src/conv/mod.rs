//! Convolutions in two dimensions and their derivatives, f32 and f64, with one group.
//!
//! ```text
//! y[n, o, p] = b[o] + sum_{c, k} w[o, c, k] x[n, c, stride p + dilation k - padding]
//! ```
//!
//! where x is 0 outside: x `[images, inputs, height, width]`, w
//! `[outputs, inputs, kernel height, kernel width]`, y `[images, outputs, ...]`. Each function returns `None`
//! for unsupported cases: groups, asymmetric padding, other element types, empty tensors.
//!
//! Images are distributed over the threads of rayon in blocks that depend on the shapes only, and sums over
//! blocks are taken in order: the result does not depend on the number of threads, bit for bit.

mod columns;
mod interleaved;
mod order;
mod shape;
mod winograd;

use std::cell::Cell;

use burn::backend::{DType, TensorMetadata, ops::ConvOptions};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::buffer::in_chunks;
use crate::gemm::Real;
use crate::numbers::{contiguous, numbers, tensor};
use shape::Shape;

/// `function::<T>(arguments)` with T for this element type, if it is supported.
macro_rules! of_type {
    ($dtype:expr, $function:ident($($argument:expr),*)) => {
        match $dtype {
            DType::F32 => Some($function::<f32>($($argument),*)),
            DType::F64 => Some($function::<f64>($($argument),*)),
            _ => None,
        }
    };
}

/// y.
pub(crate) fn conv2d(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    options: &ConvOptions<2>,
) -> Option<FlexTensor> {
    let shape = Shape::new(x, weight, options)?;
    if bias.is_some_and(|bias| bias.dtype() != x.dtype() || bias.shape().dims() != [shape.outputs])
    {
        return None;
    }
    of_type!(x.dtype(), forward(&shape, x, weight, bias))
}

/// The gradient in x of a function of y, from its gradient in y.
pub(crate) fn conv2d_x_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    output_grad: &FlexTensor,
    options: &ConvOptions<2>,
) -> Option<FlexTensor> {
    let shape = Shape::new(x, weight, options)?.with(x, output_grad)?;
    of_type!(x.dtype(), x_backward(&shape, weight, output_grad))
}

/// The gradient in the weight of a function of y, from its gradient in y.
pub(crate) fn conv2d_weight_backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    output_grad: &FlexTensor,
    options: &ConvOptions<2>,
) -> Option<FlexTensor> {
    let shape = Shape::new(x, weight, options)?.with(x, output_grad)?;
    of_type!(x.dtype(), weight_backward(&shape, x, output_grad))
}

/// The gradient in the bias, `[outputs]`, of a function of y, from its gradient in y: a sum over images and
/// positions.
pub(crate) fn conv2d_bias_backward(output_grad: &FlexTensor) -> Option<FlexTensor> {
    of_type!(output_grad.dtype(), bias_backward(output_grad))
}

fn forward<T: Real>(
    shape: &Shape,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
) -> FlexTensor {
    let (x, weight, bias) = (contiguous(x), contiguous(weight), bias.map(contiguous));
    let (x, weight) = (numbers::<T>(&x), numbers(&weight));
    let run = if shape.is_shallow(shape.inputs * shape.kernel[1]) {
        columns::forward
    } else if winograd::suits(shape, [x, weight]) {
        winograd::forward
    } else {
        interleaved::forward
    };
    let y = run(shape, x, weight, bias.as_ref().map(numbers));
    tensor(y, [shape.images, shape.outputs, shape.y[0], shape.y[1]])
}

fn x_backward<T: Real>(shape: &Shape, weight: &FlexTensor, dy: &FlexTensor) -> FlexTensor {
    let (weight, dy) = (contiguous(weight), contiguous(dy));
    let (weight, dy) = (numbers::<T>(&weight), numbers(&dy));
    let run = if shape.is_shallow(shape.inputs) {
        columns::x_backward
    } else if winograd::suits(shape, [weight, dy]) {
        winograd::x_backward
    } else {
        interleaved::x_backward
    };
    let dx = run(shape, weight, dy);
    tensor(dx, [shape.images, shape.inputs, shape.x[0], shape.x[1]])
}

fn weight_backward<T: Real>(shape: &Shape, x: &FlexTensor, dy: &FlexTensor) -> FlexTensor {
    let (x, dy) = (contiguous(x), contiguous(dy));
    let (x, dy) = (numbers::<T>(&x), numbers(&dy));
    let run = if shape.is_shallow(shape.inputs * shape.kernel[1]) {
        columns::weight_backward
    } else if winograd::suits(shape, [x, dy]) {
        winograd::weight_backward
    } else {
        interleaved::weight_backward
    };
    let dw = run(shape, x, dy);
    tensor(dw, [shape.outputs, shape.inputs, shape.kernel[0], shape.kernel[1]])
}

fn bias_backward<T: Real>(dy: &FlexTensor) -> FlexTensor {
    let [images, outputs, height, width] = dy.shape().dims();
    let (dy, len) = (contiguous(dy), height * width);
    let dy = numbers::<T>(&dy);
    let sum = |output: usize| {
        let plane = |image: usize| &dy[(image * outputs + output) * len..][..len];
        (0..images).fold(T::zero(), |sum, image| sum + total(plane(image)))
    };
    // Few elements are not worth waking threads.
    let at_once = 1 + (1 << 15) / (images * len).max(1);
    let sums: Vec<T> = (0..outputs).into_par_iter().with_min_len(at_once).map(sum).collect();
    tensor(sums, [outputs])
}

/// The sum, in parallel lanes for SIMD.
fn total<T: Real>(numbers: &[T]) -> T {
    let (lanes, rest) = numbers.as_chunks::<16>();
    let mut sums = [T::zero(); 16];
    for lane in lanes {
        sums.iter_mut().zip(lane).for_each(|(sum, &number)| *sum = *sum + number);
    }
    sums.iter().chain(rest).fold(T::zero(), |sum, &number| sum + number)
}

/// The sum over blocks of images of what `add` adds, from a block of x and of dy.
///
/// Several [`parts`] of it run at once, each over consecutive blocks.
fn sum_over_images<T: Real>(
    shape: &Shape,
    block: usize,
    len: usize,
    [x, dy]: [&[T]; 2],
    add: impl Fn(&mut [T], &[T], &[T]) + Sync,
) -> Vec<T> {
    let images = shape.images.div_ceil(parts(len)).next_multiple_of(block);
    let [x_len, y_len] = [shape.x_len(), shape.y_len()];
    let mut parts = in_chunks(shape.images.div_ceil(images) * len, len, |at, part| {
        let (x, dy) = (&x[at * images * x_len..], &dy[at * images * y_len..]);
        let blocks = x.chunks(block * x_len).zip(dy.chunks(block * y_len));
        blocks.take(images / block).for_each(|(x, dy)| add(part, x, dy));
    });
    const PIECE: usize = 4096;
    let (sum, others) = parts.split_at_mut(len);
    sum.par_chunks_mut(PIECE).enumerate().for_each(|(i, sum)| {
        for part in others.chunks(len) {
            add_to(sum, &part[i * PIECE..]);
        }
    });
    parts.truncate(len);
    parts.shrink_to_fit();
    parts
}

/// The maximum number of parts into which a sum of this length is divided. Each part needs memory: 16 parts
/// for small sums, down to 4 for large ones. It depends on the length only, so that the result does not
/// depend on the number of threads, bit for bit.
fn parts(len: usize) -> usize {
    const NUMBERS: usize = 1 << 22;
    (NUMBERS / len).clamp(4, 16)
}

/// `sum += numbers`, up to the length of the sum.
fn add_to<T: Real>(sum: &mut [T], numbers: &[T]) {
    sum.iter_mut().zip(numbers).for_each(|(sum, &number)| *sum = *sum + number);
}

/// Bytes of a cache line, and of an AVX-512 vector: loads and stores of a vector that lies in two lines are slow.
const LINE: usize = 64;

/// Lends scratch buffers of these lengths with arbitrary contents, which the thread keeps for the next call. Each begins
/// with a cache line.
fn with_scratch<T: Real, const N: usize, R>(
    lens: [usize; N],
    run: impl FnOnce([&mut [T]; N]) -> R,
) -> R {
    thread_local! {
        static ROOM: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
    }
    // Taken rather than borrowed: a waiting thread of rayon may re-enter this function.
    let mut room = ROOM.take();
    let line = LINE / size_of::<T>();
    let needed = lens.iter().map(|len| len.next_multiple_of(line)).sum::<usize>() + line;
    let needed = (needed * size_of::<T>()).div_ceil(size_of::<f64>());
    if room.len() < needed {
        room.resize(needed, 0.0);
    }
    let rest: &mut [T] = bytemuck::cast_slice_mut(&mut room);
    let start = rest.as_ptr().align_offset(LINE).min(line);
    let mut rest = &mut rest[start..];
    let result = run(lens.map(|len| {
        let whole = rest.split_off_mut(..len.next_multiple_of(line)).expect("room for all");
        &mut whole[..len]
    }));
    ROOM.set(room);
    result
}

#[cfg(test)]
mod tests {
    use super::{LINE, Real, parts, with_scratch};

    fn check_scratch<T: Real>() {
        with_scratch::<T, 2, _>([3, 50], |outer| {
            with_scratch::<T, 3, _>([1, 0, 7], |inner| {
                let places = outer.iter().chain(&inner).map(|buffer| buffer.as_ptr().addr());
                assert!(places.clone().all(|place| place.is_multiple_of(LINE)), "begin a line");
                let lens = [outer[0].len(), outer[1].len(), inner[0].len(), inner[2].len()];
                assert_eq!(lens, [3, 50, 1, 7]);
                assert!(inner.iter().all(|inner| outer[1].as_ptr_range().start != inner.as_ptr()));
            });
        });
    }

    #[test]
    fn buffers_begin_with_a_cache_line() {
        check_scratch::<f32>();
        check_scratch::<f64>();
    }

    #[test]
    fn the_parts_of_a_sum_take_little_memory_beside_a_large_one() {
        let weights = |inputs: usize, outputs: usize| inputs * outputs * 3 * 3;
        assert_eq!(parts(weights(64, 64)), 16);
        for len in [1, weights(128, 128), weights(256, 256), weights(512, 512), weights(2048, 2048)]
        {
            assert!(parts(len) * len <= (4 * len).max(1 << 22), "{len} in {} parts", parts(len));
        }
    }
}
