//! Convolutions on images with interleaved channels, in rows that are padded on one side only: the end of a
//! row is the padding of the next row, and the end of an image that of the next image.
//!
//! In this layout each offset of the kernel maps position p of y to pixel `stride p + offset` of x,
//! simultaneously for all positions of a block of images. This includes the unused positions between the
//! rows, whose results are dropped or whose gradients are 0. A row of the kernel maps to consecutive
//! elements. The product of its weights with all positions is then a single matrix product on x in place: no
//! columns are built.
//!
//! The gradients at the unused positions are multiplied with elements of x and with weights, with a factor of
//! 0. If one of these is infinite or NaN, some gradients become NaN that would not be by the defining sum:
//! those of the weights that meet it at an unused position, and those of pixels at the ends of rows. Finite
//! elements, and y, are not affected.

use std::array;

use rayon::prelude::*;

use super::{Shape, sum_over_images, with_scratch};
use crate::gemm::{Matrix, MatrixMut, Real, Store, Threads, multiply};

/// The layout of the pixels of a block of images.
///
/// With a vertical stride s, rows 0, s, 2s, ... come first, then rows 1, s + 1, ...: in each of these s
/// phases one row down in x is one row down in y.
struct Grid<'a> {
    shape: &'a Shape,
    images: usize,
    /// Rows of y in an image, and positions of y in a row, including the unused ones.
    y: [usize; 2],
    /// Pixels of x in a row, and in a phase.
    row: usize,
    phase: usize,
}

/// Positions computed at once: small enough that those of y and the pixels they need stay in cache.
const PLACES: usize = 512;

impl<'a> Grid<'a> {
    fn new(shape: &'a Shape, images: usize) -> Self {
        let y = pitch(shape);
        let row = y[1] * shape.stride[1];
        let [down, right] = [0, 1].map(|axis| (shape.kernel[axis] - 1) * shape.dilation[axis]);
        let phase = images * y[0] * row + down / shape.stride[0] * row + right;
        Self { shape, images, y, row, phase }
    }

    fn places(&self) -> usize {
        self.images * self.y[0] * self.y[1]
    }

    /// The lengths of x and y.
    fn lens(&self) -> [usize; 2] {
        let Shape { stride, inputs, outputs, .. } = self.shape;
        [stride[0] * self.phase * inputs, self.places() * outputs]
    }

    /// The first pixels of the rows of x, image after image.
    fn x_rows(&self) -> impl Iterator<Item = usize> {
        let [height, _] = self.shape.x;
        let ([stride, _], [top, left]) = (self.shape.stride, self.shape.padding);
        (0..self.images * height).map(move |i| {
            let row = i / height * self.y[0] * stride + i % height + top;
            row % stride * self.phase + row / stride * self.row + left
        })
    }

    /// The first positions of the rows of y, image after image.
    fn y_rows(&self) -> impl Iterator<Item = usize> {
        let [height, _] = self.shape.y;
        (0..self.images * height).map(move |i| (i / height * self.y[0] + i % height) * self.y[1])
    }

    /// The pixel that an offset of the kernel maps position 0 to.
    fn offset(&self, [down, right]: [usize; 2]) -> usize {
        let [dilation, stride] = [self.shape.dilation, self.shape.stride];
        let down = down * dilation[0];
        down % stride[0] * self.phase + down / stride[0] * self.row + right * dilation[1]
    }

    /// The elements of x that an offset of the kernel maps to: the first one for this position, and the
    /// strides to the next position and to the next channel.
    fn pixels(&self, offset: [usize; 2], place: usize) -> (usize, [usize; 2]) {
        let step = self.shape.stride[1] * self.shape.inputs;
        (self.offset(offset) * self.shape.inputs + place * step, [step, 1])
    }

    /// Runs of positions: the first, and how many. The last run ends with y.
    fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let [height, width] = self.shape.y;
        let places = ((self.images - 1) * self.y[0] + height - 1) * self.y[1] + width;
        (0..places).step_by(PLACES).map(move |start| (start, PLACES.min(places - start)))
    }
}

/// Rows of y in an image and positions in a row, large enough for x with its padding on one side, and for y.
fn pitch(shape: &Shape) -> [usize; 2] {
    [0, 1].map(|axis| {
        (shape.x[axis] + shape.padding[axis]).div_ceil(shape.stride[axis]).max(shape.y[axis])
    })
}

/// Images in a block: enough positions for a product.
fn block(shape: &Shape) -> usize {
    let [height, width] = pitch(shape);
    64usize.div_ceil(height * width)
}

fn threads(shape: &Shape) -> Threads {
    if shape.images <= block(shape) { Threads::All } else { Threads::One }
}

/// The offsets of the kernel whose weights meet consecutive elements of x, and how many weights: rows of the
/// kernel, or single offsets if it is dilated.
fn taps(shape: &Shape) -> impl Iterator<Item = ([usize; 2], usize)> {
    let [height, width] = shape.kernel;
    let (step, run) = if shape.dilation[1] == 1 { (width, width) } else { (1, 1) };
    (0..height * width)
        .step_by(step)
        .map(move |tap| ([tap / width, tap % width], run * shape.inputs))
}

/// The first weight of an offset of the kernel, in weights `[offset][input][output]` or
/// `[offset][output][input]`.
fn first_weight(shape: &Shape, [down, right]: [usize; 2]) -> usize {
    (down * shape.kernel[1] + right) * shape.inputs * shape.outputs
}

/// The weights `[output][input][offset]` as `[offset][input][output]`.
pub(super) fn outputs_last<T: Real>(shape: &Shape, weight: &[T]) -> Vec<T> {
    let outputs = shape.outputs;
    by_offset(shape, weight, |output, input| input * outputs + output)
}

/// The weights `[output][input][offset]` as `[offset][output][input]`.
pub(super) fn inputs_last<T: Real>(shape: &Shape, weight: &[T]) -> Vec<T> {
    by_offset(shape, weight, |output, input| output * shape.inputs + input)
}

fn by_offset<T: Real>(
    shape: &Shape,
    weight: &[T],
    place: impl Fn(usize, usize) -> usize + Sync,
) -> Vec<T> {
    let Shape { inputs, outputs, kernel, .. } = *shape;
    let mut arranged = vec![T::zero(); weight.len()];
    // Few weights are not worth waking threads.
    let at_once = 1 + (1 << 15) / (inputs * outputs);
    let pieces = arranged.par_chunks_mut(inputs * outputs).enumerate().with_min_len(at_once);
    pieces.for_each(|(offset, to)| {
        for (output, weights) in weight.chunks_exact(shape.depth()).enumerate() {
            for (input, weights) in weights.chunks_exact(kernel[0] * kernel[1]).enumerate() {
                to[place(output, input)] = weights[offset];
            }
        }
    });
    arranged
}

/// The weights `[offset][input][output]` as `[output][input][offset]`.
pub(super) fn outputs_first<T: Real>(shape: &Shape, weight: &[T]) -> Vec<T> {
    /// Outputs at once: as many as fit in a cache line.
    const OUTPUTS: usize = 16;
    let Shape { inputs, outputs, kernel, .. } = *shape;
    let offsets = kernel[0] * kernel[1];
    let mut arranged = vec![T::zero(); weight.len()];
    arranged.par_chunks_mut(OUTPUTS * shape.depth()).enumerate().for_each(|(piece, to)| {
        for (row, weights) in weight.chunks_exact(outputs).enumerate() {
            let place = row % inputs * offsets + row / inputs;
            for (to, &weight) in to.chunks_exact_mut(shape.depth()).zip(&weights[piece * OUTPUTS..])
            {
                to[place] = weight;
            }
        }
    });
    arranged
}

/// Channels that are moved at once, pixel by pixel.
const CHANNELS: usize = 8;

/// Interleaves channels, from planes whose rows have `width` elements; `rows` are pixels.
pub(super) fn interleave<T: Real>(
    planes: &[T],
    [channels, height, width]: [usize; 3],
    rows: impl Iterator<Item = usize>,
    pixels: &mut [T],
) {
    pixels.fill(T::zero());
    let plane = height * width;
    for (i, row) in rows.enumerate() {
        let planes = &planes[i / height * channels * plane + i % height * width..];
        let pixels = &mut pixels[row * channels..][..width * channels];
        let run = |channel: usize| &planes[channel * plane..][..width];
        let many = channels - channels % CHANNELS;
        for first in (0..many).step_by(CHANNELS) {
            let runs: [&[T]; CHANNELS] = array::from_fn(|channel| run(first + channel));
            for (x, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
                let to = &mut pixel[first..][..CHANNELS];
                to.iter_mut().zip(runs).for_each(|(to, run)| *to = run[x]);
            }
        }
        for channel in many..channels {
            let numbers = pixels[channel..].iter_mut().step_by(channels);
            numbers.zip(run(channel)).for_each(|(to, &number)| *to = number);
        }
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
        let planes = &mut planes[i / height * channels * plane + i % height * width..];
        let pixels = &pixels[row * channels..][..width * channels];
        let mut runs = planes.chunks_mut(plane).take(channels).map(|plane| &mut plane[..width]);
        let bias = |channel: usize| bias.map_or(T::zero(), |bias| bias[channel]);
        let many = channels - channels % CHANNELS;
        for first in (0..many).step_by(CHANNELS) {
            let mut runs: [&mut [T]; CHANNELS] =
                array::from_fn(|_| runs.next().expect("a run for each channel"));
            let bias: [T; CHANNELS] = array::from_fn(|channel| bias(first + channel));
            for (x, pixel) in pixels.chunks_exact(channels).enumerate() {
                let from = pixel[first..][..CHANNELS].iter().zip(bias);
                runs.iter_mut().zip(from).for_each(|(run, (&number, bias))| run[x] = number + bias);
            }
        }
        for (channel, run) in (many..channels).zip(runs) {
            let numbers = pixels[channel..].iter().step_by(channels);
            run.iter_mut().zip(numbers).for_each(|(to, &number)| *to = number + bias(channel));
        }
    }
}

pub(super) fn forward<T: Real>(
    shape: &Shape,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    let Shape { inputs, outputs, .. } = *shape;
    let weight = outputs_last(shape, weight);
    let block = block(shape);
    let data = x.par_chunks(block * shape.x_len());
    y.par_chunks_mut(block * shape.y_len()).zip(data).for_each(|(y, x)| {
        let grid = Grid::new(shape, x.len() / shape.x_len());
        with_scratch(grid.lens(), |[pixels, places]| {
            interleave(x, [inputs, shape.x[0], shape.x[1]], grid.x_rows(), pixels);
            for (start, count) in grid.runs() {
                for (tap, depth) in taps(shape) {
                    let (first, strides) = grid.pixels(tap, start);
                    multiply(
                        MatrixMut::rows(&mut places[start * outputs..], [count, outputs]),
                        Matrix::new(&pixels[first..], [count, depth], strides),
                        Matrix::rows(&weight[first_weight(shape, tap)..], [depth, outputs]),
                        if tap == [0, 0] { Store::Replace } else { Store::Add },
                        threads(shape),
                    );
                }
            }
            separate(places, [outputs, shape.y[0], shape.y[1]], grid.y_rows(), bias, y);
        });
    });
}

pub(super) fn x_backward<T: Real>(shape: &Shape, weight: &[T], dy: &[T], dx: &mut [T]) {
    let Shape { inputs, outputs, kernel, .. } = *shape;
    let weight = inputs_last(shape, weight);
    let block = block(shape);
    let data = dy.par_chunks(block * shape.y_len());
    dx.par_chunks_mut(block * shape.x_len()).zip(data).for_each(|(dx, dy)| {
        let grid = Grid::new(shape, dx.len() / shape.x_len());
        with_scratch(grid.lens(), |[pixels, places]| {
            pixels.fill(T::zero());
            interleave(dy, [outputs, shape.y[0], shape.y[1]], grid.y_rows(), places);
            for (start, count) in grid.runs() {
                for tap in (0..kernel[0] * kernel[1]).map(|tap| [tap / kernel[1], tap % kernel[1]])
                {
                    let (first, strides) = grid.pixels(tap, start);
                    multiply(
                        MatrixMut::new(&mut pixels[first..], [count, inputs], strides),
                        Matrix::rows(&places[start * outputs..], [count, outputs]),
                        Matrix::rows(&weight[first_weight(shape, tap)..], [outputs, inputs]),
                        Store::Add,
                        threads(shape),
                    );
                }
            }
            separate(pixels, [inputs, shape.x[0], shape.x[1]], grid.x_rows(), None, dx);
        });
    });
}

pub(super) fn weight_backward<T: Real>(shape: &Shape, x: &[T], dy: &[T]) -> Vec<T> {
    let Shape { inputs, outputs, .. } = *shape;
    let sum =
        sum_over_images(shape, block(shape), outputs * shape.depth(), [x, dy], |dw, x, dy| {
            let grid = Grid::new(shape, x.len() / shape.x_len());
            with_scratch(grid.lens(), |[pixels, places]| {
                interleave(x, [inputs, shape.x[0], shape.x[1]], grid.x_rows(), pixels);
                interleave(dy, [outputs, shape.y[0], shape.y[1]], grid.y_rows(), places);
                for (start, count) in grid.runs() {
                    for (tap, depth) in taps(shape) {
                        let (first, strides) = grid.pixels(tap, start);
                        multiply(
                            MatrixMut::rows(&mut dw[first_weight(shape, tap)..], [depth, outputs]),
                            Matrix::new(&pixels[first..], [count, depth], strides).transposed(),
                            Matrix::rows(&places[start * outputs..], [count, outputs]),
                            Store::Add,
                            threads(shape),
                        );
                    }
                }
            });
        });
    outputs_first(shape, &sum)
}
