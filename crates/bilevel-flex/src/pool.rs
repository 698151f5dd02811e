//! Max pooling in two dimensions, f32 and f64.
//!
//! The result is that of Flex, bit for bit: among equal elements the first in the window wins; among NaNs the
//! last one, before all other elements; a window outside of x gives minus infinity at index -1. Each function
//! returns `None` for unsupported cases: other element types, empty tensors, and windows of size or stride 0.

use burn::backend::{DType, IntDType, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::gather::{Index, of_types};
use crate::gemm::Real;
use crate::numbers::{contiguous, numbers, tensor, zeros};

/// The windows of a pooling; pairs are of height and width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// Elements of a window.
    pub(crate) kernel_size: [usize; 2],
    /// The distance between windows.
    pub(crate) stride: [usize; 2],
    /// Empty positions before the first element of x and after the last.
    pub(crate) padding: [usize; 2],
    /// The distance between elements of a window.
    pub(crate) dilation: [usize; 2],
    /// Whether the last window may extend beyond the padding.
    pub(crate) ceil_mode: bool,
}

impl Windows {
    /// The number of windows for `size` elements.
    fn count(&self, axis: usize, size: usize) -> usize {
        let reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1;
        let Some(room) = (size + 2 * self.padding[axis]).checked_sub(reach) else {
            return usize::from(self.ceil_mode);
        };
        let stride = self.stride[axis];
        if !self.ceil_mode {
            return 1 + room / stride;
        }
        // A window does not begin after the end of x.
        let last = room.div_ceil(stride);
        if last * stride >= size + self.padding[axis] { last } else { last + 1 }
    }
}

/// The maximum of each window of x `[images, channels, height, width]`, and its index within its plane, both
/// `[images, channels, ...]`.
pub(crate) fn max_pool2d_with_indices(
    x: &FlexTensor,
    windows: &Windows,
    indices: IntDType,
) -> Option<(FlexTensor, FlexTensor)> {
    of_types!(x.dtype(), indices.into(), forward(x, windows))
}

/// The maximum of each window.
pub(crate) fn max_pool2d(x: &FlexTensor, windows: &Windows) -> Option<FlexTensor> {
    max_pool2d_with_indices(x, windows, IntDType::I32).map(|(greatest, _)| greatest)
}

/// Planes of x that a thread processes at once.
fn planes_at_once(height: usize, width: usize) -> usize {
    (8192 / (height * width)).max(1)
}

fn forward<T: Real, I: Index>(
    x: &FlexTensor,
    windows: &Windows,
) -> Option<(FlexTensor, FlexTensor)> {
    if windows.kernel_size.contains(&0) || windows.stride.contains(&0) {
        // Flex reports the error.
        return None;
    }
    let [images, channels, height, width] = x.shape().dims();
    let [down, right] = [windows.count(0, height), windows.count(1, width)];
    let (planes, len) = (images * channels, down * right);
    if planes * height * width * len == 0 || i32::try_from(height * width).is_err() {
        return None;
    }
    let (x, at_once) = (contiguous(x), planes_at_once(height, width));
    let mut greatest = zeros::<T>(planes * len);
    let mut indices = zeros::<I>(planes * len);
    let results = greatest.par_chunks_mut(at_once * len).zip(indices.par_chunks_mut(at_once * len));
    let x = numbers::<T>(&x).par_chunks(at_once * height * width);
    results.zip(x).for_each(|((greatest, indices), x)| {
        let planes =
            Planes { windows, x, size: [height, width], count: [down, right], greatest, indices };
        pulp::Arch::new().dispatch(planes);
    });
    let sizes = [images, channels, down, right];
    Some((tensor(greatest, sizes), tensor(indices, sizes)))
}

/// Planes of x, and the results.
struct Planes<'a, T, I> {
    windows: &'a Windows,
    x: &'a [T],
    size: [usize; 2],
    count: [usize; 2],
    greatest: &'a mut [T],
    indices: &'a mut [I],
}

impl<T: Real, I: Index> pulp::NullaryFnOnce for Planes<'_, T, I> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { windows, size: [height, width], count: [down, right], .. } = self;
        let len = down * right;
        let results = self.greatest.chunks_exact_mut(len).zip(self.indices.chunks_exact_mut(len));
        for ((greatest, indices), x) in results.zip(self.x.chunks_exact(height * width)) {
            let plane = Plane { windows, x, height, width };
            let rows = greatest.chunks_exact_mut(right).zip(indices.chunks_exact_mut(right));
            for (down, (greatest, indices)) in rows.enumerate() {
                plane.pool(down, greatest, indices);
            }
        }
    }
}

/// A plane of x.
struct Plane<'a, T> {
    windows: &'a Windows,
    x: &'a [T],
    height: usize,
    width: usize,
}

impl<T: Real> Plane<'_, T> {
    /// Pools a row of windows.
    #[inline(always)]
    fn pool<I: Index>(&self, down: usize, greatest: &mut [T], indices: &mut [I]) {
        let right = greatest.len();
        let [first, end] = self.whole(right);
        let mut put = |at: usize, (best, places): (&[T], &[i32])| {
            greatest[at..][..best.len()].copy_from_slice(best);
            indices[at..][..best.len()]
                .iter_mut()
                .zip(places)
                .for_each(|(to, &place)| *to = place.into());
        };
        for at in (0..first).chain(end..right) {
            let (best, place) = self.window(down, at);
            put(at, (&[best], &[place]));
        }
        macro_rules! whole {
            ($stride:literal, $lanes:literal) => {
                for at in (first..end).step_by($lanes) {
                    // The last group overlaps the previous one, so that it is full.
                    let at = at.min(end - $lanes);
                    let (best, places) = self.lanes::<$stride, $lanes>(down, at);
                    put(at, (&best, &places));
                }
            };
        }
        match (self.windows.stride[1], end - first) {
            (1, 8..) => whole!(1, 8),
            (2, 8..) => whole!(2, 8),
            (1, 4..) => whole!(1, 4),
            (2, 4..) => whole!(2, 4),
            _ => whole!(0, 1),
        }
    }

    /// The windows of a row of `right` windows that lie entirely inside x.
    #[inline(always)]
    fn whole(&self, right: usize) -> [usize; 2] {
        let Windows { kernel_size, stride, padding, dilation, .. } = *self.windows;
        let first = padding[1].div_ceil(stride[1]).min(right);
        let reach = dilation[1] * (kernel_size[1] - 1) + 1;
        let end = (self.width + padding[1] + stride[1]).saturating_sub(reach) / stride[1];
        [first, end.clamp(first, right)]
    }

    /// The rows of x in row `down` of windows.
    #[inline(always)]
    fn rows(&self, down: usize) -> impl Iterator<Item = usize> {
        let Windows { kernel_size, stride, padding, dilation, .. } = *self.windows;
        let height = self.height;
        (0..kernel_size[0])
            .filter_map(move |ky| (down * stride[0] + ky * dilation[0]).checked_sub(padding[0]))
            .take_while(move |&row| row < height)
    }

    /// `LANES` windows inside x, from `right` on. `STRIDE` is their stride or 0; if it is known to the
    /// compiler, several elements can be loaded at once.
    #[inline(always)]
    fn lanes<const STRIDE: usize, const LANES: usize>(
        &self,
        down: usize,
        right: usize,
    ) -> ([T; LANES], [i32; LANES]) {
        let Windows { kernel_size, stride, padding, dilation, .. } = *self.windows;
        let (mut best, mut places) = ([T::neg_infinity(); LANES], [-1; LANES]);
        for row in self.rows(down) {
            let start = row * self.width + right * stride[1] - padding[1];
            for start in (0..kernel_size[1]).map(|kx| start + kx * dilation[1]) {
                let numbers = &self.x[start..][..(LANES - 1) * STRIDE + 1];
                for lane in 0..LANES {
                    let number = numbers[lane * STRIDE];
                    let better = (places[lane] < 0) | (number > best[lane]) | number.is_nan();
                    best[lane] = if better { number } else { best[lane] };
                    places[lane] =
                        if better { (start + lane * STRIDE) as i32 } else { places[lane] };
                }
            }
        }
        (best, places)
    }

    /// A window that may extend beyond x.
    #[inline(always)]
    fn window(&self, down: usize, right: usize) -> (T, i32) {
        let Windows { kernel_size, stride, padding, dilation, .. } = *self.windows;
        let columns = || {
            (0..kernel_size[1])
                .filter_map(move |kx| {
                    (right * stride[1] + kx * dilation[1]).checked_sub(padding[1])
                })
                .take_while(|&column| column < self.width)
        };
        let places =
            self.rows(down).flat_map(|row| columns().map(move |column| row * self.width + column));
        places.fold((T::neg_infinity(), -1), |(best, place), new| {
            let number = self.x[new];
            let better = place < 0 || number > best || number.is_nan();
            if better { (number, new as i32) } else { (best, place) }
        })
    }
}
