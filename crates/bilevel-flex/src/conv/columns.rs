//! Convolutions as products of the weight with columns (im2col): row (c, k) of the columns of an image holds
//! `x[c, stride p + dilation k - padding]` for each position p of y. Best for short products, as with few channels.

use std::ops::Range;

use super::{Shape, add_to, sum_over_images, with_scratch};
use crate::buffer::in_chunks;
use crate::gemm::{Matrix, MatrixMut, Real, Store, Threads, multiply};

impl Shape {
    /// Positions of y in an image.
    fn places(&self) -> usize {
        self.y[0] * self.y[1]
    }

    /// The number of elements of the columns of an image; 0 if the columns are x itself.
    fn columns_len(&self) -> usize {
        if self.is_pointwise() { 0 } else { self.depth() * self.places() }
    }

    fn threads(&self) -> Threads {
        if self.images == 1 { Threads::All } else { Threads::One }
    }

    /// The positions along an axis for which offset k of the kernel falls inside x, and the index in x for
    /// the first of them.
    fn inside(&self, axis: usize, k: usize) -> (Range<usize>, usize) {
        let (stride, padding, shift) =
            (self.stride[axis], self.padding[axis], k * self.dilation[axis]);
        let first = padding.saturating_sub(shift).div_ceil(stride);
        let end = (self.x[axis] + padding).saturating_sub(shift).div_ceil(stride).min(self.y[axis]);
        (first..end.max(first), (first * stride + shift).saturating_sub(padding))
    }

    /// Each contiguous run of elements of the columns of an image, and the index of its first element in x;
    /// the next elements follow in x by the stride.
    fn each_run(&self, mut visit: impl FnMut(Range<usize>, usize)) {
        let [height, width] = self.x;
        let [kernel_height, kernel_width] = self.kernel;
        for row in 0..self.depth() {
            let (channel, ky, kx) = (
                row / (kernel_height * kernel_width),
                row / kernel_width % kernel_height,
                row % kernel_width,
            );
            let ((rows, top), (run, left)) = (self.inside(0, ky), self.inside(1, kx));
            for (i, y) in rows.enumerate().filter(|_| !run.is_empty()) {
                let start = row * self.places() + y * self.y[1];
                let from = (channel * height + top + i * self.stride[0]) * width + left;
                visit(start + run.start..start + run.end, from);
            }
        }
    }

    /// The columns of an image: written to `room`, or x itself.
    fn columns<'a, T: Real>(&self, x: &'a [T], room: &'a mut [T]) -> Matrix<'a, T> {
        let size = [self.depth(), self.places()];
        if self.is_pointwise() {
            return Matrix::rows(x, size);
        }
        room.fill(T::zero());
        self.each_run(|run, from| {
            if self.stride[1] == 1 {
                room[run.clone()].copy_from_slice(&x[from..][..run.len()]);
            } else {
                let numbers = x[from..].iter().step_by(self.stride[1]);
                room[run].iter_mut().zip(numbers).for_each(|(to, &number)| *to = number);
            }
        });
        Matrix::rows(room, size)
    }

    /// The adjoint of the columns: adds each element of the columns to its element of x.
    fn add_columns<T: Real>(&self, columns: &[T], x: &mut [T]) {
        self.each_run(|run, from| {
            if self.stride[1] == 1 {
                add_to(&mut x[from..][..run.len()], &columns[run]);
            } else {
                let numbers = x[from..].iter_mut().step_by(self.stride[1]);
                numbers.zip(&columns[run]).for_each(|(to, &number)| *to = *to + number);
            }
        });
    }
}

/// y = w columns.
pub(super) fn forward<T: Real>(shape: &Shape, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let weight = Matrix::rows(weight, [shape.outputs, shape.depth()]);
    in_chunks(shape.images * shape.y_len(), shape.y_len(), |image, y| {
        let x = &x[image * shape.x_len()..];
        for (plane, &bias) in y.chunks_mut(shape.places()).zip(bias.into_iter().flatten()) {
            plane.fill(bias);
        }
        let store = if bias.is_some() { Store::Add } else { Store::Replace };
        with_scratch([shape.columns_len()], |[room]| {
            let y = MatrixMut::rows(y, [shape.outputs, shape.places()]);
            multiply(y, weight, shape.columns(x, room), store, shape.threads());
        });
    })
}

/// dx = the adjoint of the columns, applied to w' dy.
pub(super) fn x_backward<T: Real>(shape: &Shape, weight: &[T], dy: &[T]) -> Vec<T> {
    let weight = Matrix::rows(weight, [shape.outputs, shape.depth()]).transposed();
    in_chunks(shape.images * shape.x_len(), shape.x_len(), |image, dx| {
        let dy = &dy[image * shape.y_len()..];
        let dy = Matrix::rows(dy, [shape.outputs, shape.places()]);
        with_scratch([shape.columns_len()], |[room]| {
            let columns = if shape.is_pointwise() { &mut *dx } else { &mut *room };
            let size = [shape.depth(), shape.places()];
            multiply(MatrixMut::rows(columns, size), weight, dy, Store::Replace, shape.threads());
            if !shape.is_pointwise() {
                shape.add_columns(room, dx);
            }
        });
    })
}

/// dw = the sum over images of dy columns'.
pub(super) fn weight_backward<T: Real>(shape: &Shape, x: &[T], dy: &[T]) -> Vec<T> {
    /// Up to this many elements of dw, `gemm` sums along the rows of both factors and copies neither.
    const ROWS: usize = 256;
    let (depth, places) = (shape.depth(), shape.places());
    let outputs = if depth <= ROWS { ROWS / depth } else { shape.outputs };
    sum_over_images(shape, 1, shape.outputs * depth, [x, dy], |dw, x, dy| {
        with_scratch([shape.columns_len()], |[room]| {
            let columns = shape.columns(x, room).transposed();
            for (dw, dy) in dw.chunks_mut(outputs * depth).zip(dy.chunks(outputs * places)) {
                let outputs = dw.len() / depth;
                let dy = Matrix::rows(dy, [outputs, places]);
                let dw = MatrixMut::rows(dw, [outputs, depth]);
                multiply(dw, dy, columns, Store::Add, shape.threads());
            }
        });
    })
}
