//! Convolutions with kernels of 3 x 3 by Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, "Fast Algorithms for
//! Convolutional Neural Networks", 2016): 4 multiplications a position, channel and output instead of 9.
//!
//! Tiles of 2 x 2 positions of y are computed from 4 x 4 pixels of x:
//!
//! ```text
//! y = A' (G w G' * B' x B) A
//! ```
//!
//! where `*` multiplies entry by entry. Over all channels, outputs and tiles, each of the 16 entries is a product of
//! matrices, `[tiles, inputs] x [inputs, outputs]`. The gradients are the transposed maps: that in w is
//! `G' (B' x B * A dy A') G`; that in x is the convolution of dy with w, rotated by 180 degrees.
//!
//! In f32 only: the positions of a tile share the rounding errors of its pixels, so an error is relative to the largest
//! pixel of the tile over all channels, where a direct sum has errors relative to the numbers that it adds. And only
//! where no number is above [`LARGE`]: what is not finite would reach positions that it does not belong to.

use std::ops::Range;

use burn::backend::DType;
use bytemuck::{cast_slice, cast_vec};
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};
use rayon::prelude::*;

use super::order::{inputs_last, interleave, outputs_first, outputs_last, separate};
use super::{Shape, sum_over_images, with_scratch};
use crate::buffer::in_chunks;
use crate::gemm::{Matrix, MatrixMut, Real, Store, Threads, multiply};

/// Entries of the product of a tile.
const ENTRIES: usize = 16;

/// Channels come in multiples of this, so that they are whole vectors on every processor.
const LANES: usize = 16;

/// Tiles computed at once: enough for a product, and so few that all entries stay in cache.
const TILES: usize = 128;

/// The largest number that is transformed: entries are sums of at most 4 to 16 of them, and a million products of two
/// entries do not overflow.
const LARGE: f32 = 1e15;

/// Whether a convolution, or a gradient of one, has this form: the product of these factors.
pub(super) fn suits<T: Real>(shape: &Shape, factors: [&[T]; 2]) -> bool {
    let Shape { inputs, outputs, kernel, stride, padding, dilation, .. } = *shape;
    let is_plain = kernel == [3, 3] && stride == [1, 1] && dilation == [1, 1];
    T::dtype() == DType::F32
        && is_plain
        && padding.iter().all(|&padding| padding <= 2)
        && [inputs, outputs].iter().all(|&channels| channels.is_multiple_of(LANES))
        && factors.iter().all(|factor| are_moderate(cast_slice(factor)))
}

/// Whether the numbers may be transformed.
fn are_moderate(numbers: &[f32]) -> bool {
    const PIECE: usize = 1 << 14;
    numbers.par_chunks(PIECE).all(|piece| Arch::new().dispatch(AreModerate(piece)))
}

struct AreModerate<'a>(&'a [f32]);

impl NullaryFnOnce for AreModerate<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        // Bits without the sign are in the order of the absolute values; those of NaN are the largest.
        let largest = self.0.iter().fold(0, |most, x| most.max(x.to_bits() & (u32::MAX >> 1)));
        largest <= LARGE.to_bits()
    }
}

/// The tiles of a block of images.
struct Grid<'a> {
    shape: &'a Shape,
    images: usize,
    /// Tiles down and across an image.
    tiles: [usize; 2],
}

impl<'a> Grid<'a> {
    fn new(shape: &'a Shape, images: usize) -> Self {
        Self { shape, images, tiles: shape.y.map(|size| size.div_ceil(2)) }
    }

    fn tiles(&self) -> usize {
        self.images * self.tiles[0] * self.tiles[1]
    }

    /// Rows and columns of an image of x, with its padding, and of y: whole tiles.
    fn sizes(&self) -> [[usize; 2]; 2] {
        [self.tiles.map(|count| 2 * count + 2), self.tiles.map(|count| 2 * count)]
    }

    /// The numbers of x and y.
    fn lens(&self) -> [usize; 2] {
        let channels = [self.shape.inputs, self.shape.outputs];
        let pixels = self.sizes().map(|[height, width]| self.images * height * width);
        [pixels[0] * channels[0], pixels[1] * channels[1]]
    }

    /// The first pixels of the rows of x, image after image.
    fn x_rows(&self) -> impl Iterator<Item = usize> {
        let ([height, _], [top, left]) = (self.shape.x, self.shape.padding);
        let [[rows, width], _] = self.sizes();
        (0..self.images * height)
            .map(move |i| (i / height * rows + i % height + top) * width + left)
    }

    /// The first positions of the rows of y, image after image.
    fn y_rows(&self) -> impl Iterator<Item = usize> {
        let [height, _] = self.shape.y;
        let [_, [rows, width]] = self.sizes();
        (0..self.images * height).map(move |i| (i / height * rows + i % height) * width)
    }

    /// Runs of tiles: the first, and how many.
    fn runs(&self) -> impl Iterator<Item = (usize, usize)> {
        let tiles = self.tiles();
        (0..tiles).step_by(TILES).map(move |start| (start, TILES.min(tiles - start)))
    }

    /// The numbers of the entries of a run, for x and y.
    fn run_lens(&self) -> [usize; 2] {
        let tiles = TILES.min(self.tiles());
        [self.shape.inputs, self.shape.outputs].map(|channels| ENTRIES * step(tiles, channels))
    }

    /// Tiles `start` to `start + count` in images of this size.
    fn squares(&self, [height, width]: [usize; 2], (start, count): (usize, usize)) -> Squares {
        let [down, across] = self.tiles;
        let corner = |tile: usize| {
            let (row, column) = (tile / across, tile % across);
            (row / down * height + row % down * 2) * width + column * 2
        };
        Squares { corners: (start..start + count).map(corner).collect(), strides: [width, 1] }
    }
}

/// Squares of pixels.
struct Squares {
    /// The first pixel of each.
    corners: Vec<usize>,
    /// From a pixel to the one below, and to the next.
    strides: [usize; 2],
}

impl Squares {
    /// The numbers of the pixels of a square of `side` x `side`, so many a pixel.
    #[inline(always)]
    fn pixels(&self, square: usize, side: usize, channels: usize) -> Range<usize> {
        let first = self.corners[square] * channels;
        first..first + (self.pixel(side - 1, side - 1) + 1) * channels
    }

    /// From the first pixel of a square to another one.
    #[inline(always)]
    fn pixel(&self, row: usize, column: usize) -> usize {
        row * self.strides[0] + column * self.strides[1]
    }
}

/// A linear map between vectors of a few numbers.
trait Map<const FROM: usize, const TO: usize> {
    fn of<S: Simd>(&self, simd: S, from: [S::f32s; FROM]) -> [S::f32s; TO];
}

/// B': pixels to entries.
struct Pixels;

impl Map<4, 4> for Pixels {
    #[inline(always)]
    fn of<S: Simd>(&self, simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 4] {
        [simd.sub_f32s(a, c), simd.add_f32s(b, c), simd.sub_f32s(c, b), simd.sub_f32s(b, d)]
    }
}

/// A': entries to positions, and its transpose.
struct Positions;

impl Map<4, 2> for Positions {
    #[inline(always)]
    fn of<S: Simd>(&self, simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 2] {
        [simd.add_f32s(simd.add_f32s(a, b), c), simd.sub_f32s(simd.sub_f32s(b, c), d)]
    }
}

impl Map<2, 4> for Positions {
    #[inline(always)]
    fn of<S: Simd>(&self, simd: S, [a, b]: [S::f32s; 2]) -> [S::f32s; 4] {
        [a, simd.add_f32s(a, b), simd.sub_f32s(a, b), simd.neg_f32s(b)]
    }
}

/// G: weights to entries, and its transpose.
struct Weights;

impl Map<3, 4> for Weights {
    #[inline(always)]
    fn of<S: Simd>(&self, simd: S, [a, b, c]: [S::f32s; 3]) -> [S::f32s; 4] {
        let half = simd.splat_f32s(0.5);
        let ends = simd.mul_f32s(simd.add_f32s(a, c), half);
        let middle = simd.mul_f32s(b, half);
        [a, simd.add_f32s(ends, middle), simd.sub_f32s(ends, middle), c]
    }
}

impl Map<4, 3> for Weights {
    #[inline(always)]
    fn of<S: Simd>(&self, simd: S, [a, b, c, d]: [S::f32s; 4]) -> [S::f32s; 3] {
        let half = simd.splat_f32s(0.5);
        let sum = simd.mul_f32s(simd.add_f32s(b, c), half);
        let difference = simd.mul_f32s(simd.sub_f32s(b, c), half);
        [simd.add_f32s(a, sum), difference, simd.add_f32s(sum, d)]
    }
}

/// `M s M'` of a square s.
#[inline(always)]
fn both_ways<S: Simd, const FROM: usize, const TO: usize>(
    simd: S,
    map: &impl Map<FROM, TO>,
    square: [[S::f32s; FROM]; FROM],
) -> [[S::f32s; TO]; TO] {
    let zero = simd.splat_f32s(0.0);
    let mut wide = [[zero; TO]; FROM];
    for row in 0..FROM {
        wide[row] = map.of(simd, square[row]);
    }
    let mut result = [[zero; TO]; TO];
    for column in 0..TO {
        let mut from = [zero; FROM];
        for row in 0..FROM {
            from[row] = wide[row][column];
        }
        let to = map.of(simd, from);
        for row in 0..TO {
            result[row][column] = to[row];
        }
    }
    result
}

/// Squares of SIDE x SIDE pixels to entries `[16][square][channel]`, a [`step`] apart.
struct ToEntries<'a, M, const SIDE: usize> {
    squares: Squares,
    pixels: &'a [f32],
    channels: usize,
    entries: &'a mut [f32],
    map: M,
}

impl<M: Map<SIDE, 4>, const SIDE: usize> WithSimd for ToEntries<'_, M, SIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let squares = self.squares;
        let (pixels, _) = S::as_simd_f32s(self.pixels);
        let (entries, _) = S::as_mut_simd_f32s(self.entries);
        let vectors = in_vectors::<S>(self.channels);
        let step = in_vectors::<S>(step(squares.corners.len(), self.channels));
        for square in 0..squares.corners.len() {
            let from = &pixels[squares.pixels(square, SIDE, vectors)];
            let to = &mut entries[square * vectors..][..15 * step + vectors];
            for lane in 0..vectors {
                let mut numbers = [[simd.splat_f32s(0.0); SIDE]; SIDE];
                for (row, numbers) in numbers.iter_mut().enumerate() {
                    for (column, number) in numbers.iter_mut().enumerate() {
                        *number = from[squares.pixel(row, column) * vectors + lane];
                    }
                }
                let results = both_ways(simd, &self.map, numbers);
                for (row, results) in results.iter().enumerate() {
                    for (column, &result) in results.iter().enumerate() {
                        to[(4 * row + column) * step + lane] = result;
                    }
                }
            }
        }
    }
}

/// Entries `[16][square][channel]`, a [`step`] apart, to squares of SIDE x SIDE pixels.
struct FromEntries<'a, M, const SIDE: usize> {
    squares: Squares,
    pixels: &'a mut [f32],
    channels: usize,
    entries: &'a [f32],
    map: M,
}

impl<M: Map<4, SIDE>, const SIDE: usize> WithSimd for FromEntries<'_, M, SIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let squares = self.squares;
        let (pixels, _) = S::as_mut_simd_f32s(self.pixels);
        let (entries, _) = S::as_simd_f32s(self.entries);
        let vectors = in_vectors::<S>(self.channels);
        let step = in_vectors::<S>(step(squares.corners.len(), self.channels));
        for square in 0..squares.corners.len() {
            let to = &mut pixels[squares.pixels(square, SIDE, vectors)];
            let from = &entries[square * vectors..][..15 * step + vectors];
            for lane in 0..vectors {
                let mut numbers = [[simd.splat_f32s(0.0); 4]; 4];
                for (row, numbers) in numbers.iter_mut().enumerate() {
                    for (column, number) in numbers.iter_mut().enumerate() {
                        *number = from[(4 * row + column) * step + lane];
                    }
                }
                let results = both_ways(simd, &self.map, numbers);
                for (row, results) in results.iter().enumerate() {
                    for (column, &result) in results.iter().enumerate() {
                        to[squares.pixel(row, column) * vectors + lane] = result;
                    }
                }
            }
        }
    }
}

/// The vectors of so many numbers.
#[inline(always)]
fn in_vectors<S: Simd>(numbers: usize) -> usize {
    numbers * size_of::<f32>() / size_of::<S::f32s>()
}

/// From one entry of all squares to the next: a cache line more than their numbers, so that the entries of a square are not
/// at multiples of a large power of 2, which map to the same cache set.
fn step(squares: usize, channels: usize) -> usize {
    squares * channels + LANES
}

/// The squares of weights `[offset][input][output]`, one for each input.
fn kernels(inputs: usize) -> Squares {
    Squares { corners: (0..inputs).collect(), strides: [3 * inputs, inputs] }
}

/// Images in a block.
fn block(shape: &Shape) -> usize {
    let Grid { tiles: [down, across], .. } = Grid::new(shape, 1);
    (TILES / 2).div_ceil(down * across)
}

fn threads(shape: &Shape) -> Threads {
    if shape.images <= block(shape) { Threads::All } else { Threads::One }
}

pub(super) fn forward<T: Real>(shape: &Shape, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let weight = outputs_last::<f32>(shape, cast_slice(weight), |offset| offset);
    cast_vec(convolve(shape, cast_slice(x), &weight, bias.map(cast_slice)))
}

/// dx is the convolution of dy with the weights rotated by 180 degrees, padded by what is left of 2.
pub(super) fn x_backward<T: Real>(shape: &Shape, weight: &[T], dy: &[T]) -> Vec<T> {
    let weight = inputs_last::<f32>(shape, cast_slice(weight), |offset| 8 - offset);
    let adjoint = Shape {
        inputs: shape.outputs,
        outputs: shape.inputs,
        x: shape.y,
        y: shape.x,
        padding: shape.padding.map(|padding| 2 - padding),
        ..*shape
    };
    cast_vec(convolve(&adjoint, cast_slice(dy), &weight, None))
}

/// y, from weights `[offset][input][output]`.
fn convolve(shape: &Shape, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let Shape { inputs, outputs, .. } = *shape;
    let arch = Arch::new();
    let mut factors = vec![0.0; ENTRIES * step(inputs, outputs)];
    let entries = &mut factors[..];
    let squares = kernels(inputs);
    arch.dispatch(ToEntries { squares, pixels: weight, channels: outputs, entries, map: Weights });
    let block = block(shape);
    in_chunks(shape.images * shape.y_len(), block * shape.y_len(), |at, y| {
        let grid = Grid::new(shape, y.len() / shape.y_len());
        let x = &x[at * block * shape.x_len()..];
        let ([x_size, y_size], [x_len, y_len]) = (grid.sizes(), grid.lens());
        let [left, right] = grid.run_lens();
        with_scratch([x_len, y_len, left, right], |[pixels, places, left, right]| {
            interleave(x, [inputs, shape.x[0], shape.x[1]], grid.x_rows(), pixels);
            for run in grid.runs() {
                let squares = grid.squares(x_size, run);
                let entries = &mut left[..ENTRIES * step(run.1, inputs)];
                arch.dispatch(ToEntries {
                    squares,
                    pixels,
                    channels: inputs,
                    entries,
                    map: Pixels,
                });
                let products = right.chunks_exact_mut(step(run.1, outputs));
                let factors = factors.chunks_exact(step(inputs, outputs));
                let left = left.chunks_exact(step(run.1, inputs));
                for ((product, left), factor) in products.zip(left).zip(factors) {
                    multiply(
                        MatrixMut::rows(product, [run.1, outputs]),
                        Matrix::rows(left, [run.1, inputs]),
                        Matrix::rows(factor, [inputs, outputs]),
                        Store::Replace,
                        threads(shape),
                    );
                }
                let squares = grid.squares(y_size, run);
                let entries = &right[..ENTRIES * step(run.1, outputs)];
                let (pixels, map) = (&mut *places, Positions);
                arch.dispatch(FromEntries { squares, pixels, channels: outputs, entries, map });
            }
            separate(places, [outputs, shape.y[0], shape.y[1]], grid.y_rows(), bias, y);
        });
    })
}

pub(super) fn weight_backward<T: Real>(shape: &Shape, x: &[T], dy: &[T]) -> Vec<T> {
    let Shape { inputs, outputs, .. } = *shape;
    let (x, dy): (&[f32], &[f32]) = (cast_slice(x), cast_slice(dy));
    let arch = Arch::new();
    let len = ENTRIES * step(inputs, outputs);
    let sum = sum_over_images(shape, block(shape), len, [x, dy], |sum, x, dy| {
        let grid = Grid::new(shape, x.len() / shape.x_len());
        let ([x_size, y_size], [x_len, y_len]) = (grid.sizes(), grid.lens());
        let [left, right] = grid.run_lens();
        with_scratch([x_len, y_len, left, right], |[pixels, places, left, right]| {
            interleave(x, [inputs, shape.x[0], shape.x[1]], grid.x_rows(), pixels);
            interleave(dy, [outputs, shape.y[0], shape.y[1]], grid.y_rows(), places);
            for run in grid.runs() {
                let squares = grid.squares(x_size, run);
                let entries = &mut left[..ENTRIES * step(run.1, inputs)];
                arch.dispatch(ToEntries {
                    squares,
                    pixels,
                    channels: inputs,
                    entries,
                    map: Pixels,
                });
                let squares = grid.squares(y_size, run);
                let (entries, pixels) = (&mut right[..ENTRIES * step(run.1, outputs)], &*places);
                let map = Positions;
                arch.dispatch(ToEntries { squares, pixels, channels: outputs, entries, map });
                let sums = sum.chunks_exact_mut(step(inputs, outputs));
                let left = left.chunks_exact(step(run.1, inputs));
                let right = right.chunks_exact(step(run.1, outputs));
                for ((sum, left), right) in sums.zip(left).zip(right) {
                    multiply(
                        MatrixMut::rows(sum, [inputs, outputs]),
                        Matrix::rows(left, [run.1, inputs]).transposed(),
                        Matrix::rows(right, [run.1, outputs]),
                        Store::Add,
                        threads(shape),
                    );
                }
            }
        });
    });
    let mut weights = vec![0.0; 9 * inputs * outputs];
    let (squares, pixels) = (kernels(inputs), &mut weights[..]);
    arch.dispatch(FromEntries { squares, pixels, channels: outputs, entries: &sum, map: Weights });
    outputs_first(shape, cast_slice(&weights))
}
