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

use super::order::{inputs_last, interleave, outputs_first, outputs_last, separate};
use super::{Shape, sum_over_images, with_scratch};
use crate::buffer::in_chunks;
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

pub(super) fn forward<T: Real>(shape: &Shape, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let Shape { inputs, outputs, .. } = *shape;
    let weight = outputs_last(shape, weight, |offset| offset);
    let block = block(shape);
    in_chunks(shape.images * shape.y_len(), block * shape.y_len(), |at, y| {
        let grid = Grid::new(shape, y.len() / shape.y_len());
        let x = &x[at * block * shape.x_len()..];
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
    })
}

pub(super) fn x_backward<T: Real>(shape: &Shape, weight: &[T], dy: &[T]) -> Vec<T> {
    let Shape { inputs, outputs, kernel, .. } = *shape;
    let weight = inputs_last(shape, weight, |offset| offset);
    let block = block(shape);
    in_chunks(shape.images * shape.x_len(), block * shape.x_len(), |at, dx| {
        let dy = &dy[at * block * shape.y_len()..];
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
    })
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
