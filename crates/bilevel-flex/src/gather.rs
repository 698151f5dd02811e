//! Gather, scatter-add and the backward pass of max pooling, f32 and f64.
//!
//! Each function returns `None` for unsupported cases: other element types, sizes that do not match, and indices outside of
//! a row, which Flex reports.

use burn::backend::{DType, Element};
use burn_flex::FlexTensor;
use bytemuck::Pod;
use num_traits::ToPrimitive;
use rayon::prelude::*;

use crate::buffer::in_chunks;
use crate::elementwise::{is_whole, like};
use crate::numbers::{contiguous, numbers};
use crate::slices::Real;

/// A type of indices.
pub(crate) trait Index:
    Element + Pod + num_traits::PrimInt + From<i32> + Send + Sync
{
}

impl Index for i32 {}
impl Index for i64 {}

/// `function::<T, I>(arguments)` for the types of numbers and indices.
macro_rules! of_types {
    ($numbers:expr, $indices:expr, $function:ident($($argument:expr),*)) => {
        match ($numbers, $indices) {
            (DType::F32, DType::I32) => $function::<f32, i32>($($argument),*),
            (DType::F32, DType::I64) => $function::<f32, i64>($($argument),*),
            (DType::F64, DType::I32) => $function::<f64, i32>($($argument),*),
            (DType::F64, DType::I64) => $function::<f64, i64>($($argument),*),
            _ => None,
        }
    };
}
pub(crate) use of_types;

/// `out[r, j] = x[r, indices[r, j]]`: of rows along the last dimension.
pub(crate) fn gather(x: &FlexTensor, indices: &FlexTensor) -> Option<FlexTensor> {
    of_types!(x.dtype(), indices.dtype(), gather_rows(x, indices))
}

/// `x[r, indices[r, j]] += values[r, j]`, in the order of j: of rows along the last dimension; `Err(x)` for unsupported
/// cases.
pub(crate) fn scatter_add(
    mut x: FlexTensor,
    indices: &FlexTensor,
    values: &FlexTensor,
) -> Result<FlexTensor, FlexTensor> {
    if x.dtype() != values.dtype() || indices.layout().shape() != values.layout().shape() {
        return Err(x);
    }
    match of_types!(x.dtype(), indices.dtype(), add_rows(&mut x, indices, values)) {
        Some(()) => Ok(x),
        None => Err(x),
    }
}

/// Zeros in the shape of x, `[images, channels, height, width]`, with the values of each plane added at their indices in
/// it.
pub(crate) fn max_pool2d_backward(
    x: &FlexTensor,
    indices: &FlexTensor,
    values: &FlexTensor,
) -> Option<FlexTensor> {
    if x.dtype() != values.dtype() || indices.layout().shape() != values.layout().shape() {
        return None;
    }
    of_types!(x.dtype(), indices.dtype(), sum_in_planes(x, indices, values))
}

/// Sizes of rows: how many, numbers in x, and indices.
#[derive(Clone, Copy)]
struct Rows {
    count: usize,
    x: usize,
    indices: usize,
}

impl Rows {
    /// `None` if there are no numbers, or the indices are not all inside.
    fn new<I: Index>([count, x, len]: [usize; 3], indices: &[I]) -> Option<Self> {
        let inside = |index: &I| ToPrimitive::to_usize(index).is_some_and(|index| index < x);
        let all = |indices: &[I]| indices.iter().fold(true, |all, index| all & inside(index));
        let is_some = ![count, x, len].contains(&0);
        (is_some && indices.par_chunks(1 << 14).all(all)).then_some(Self { count, x, indices: len })
    }

    /// How many rows a thread processes at once.
    fn at_once(&self) -> usize {
        (8192 / self.x.max(self.indices)).max(1)
    }

    /// `x[r, indices[r, j]] += values[r, j]` in some rows.
    fn add<T: Real, I: Index>(&self, x: &mut [T], indices: &[I], values: &[T]) {
        let rows = x.chunks_exact_mut(self.x).zip(indices.chunks_exact(self.indices));
        for ((x, indices), values) in rows.zip(values.chunks_exact(self.indices)) {
            for (index, &value) in indices.iter().zip(values) {
                let number = &mut x[to_index(index)];
                *number = *number + value;
            }
        }
    }
}

/// An index that was found to be inside.
fn to_index<I: Index>(index: &I) -> usize {
    ToPrimitive::to_usize(index).expect("an index inside")
}

/// The sizes of rows along the last dimension: how many, and their numbers in x and in the indices.
fn along_last(x: &FlexTensor, indices: &FlexTensor) -> Option<[usize; 3]> {
    let (&x_len, x_outer) = x.layout().shape().as_slice().split_last()?;
    let (&len, outer) = indices.layout().shape().as_slice().split_last()?;
    (x_outer == outer).then_some([outer.iter().product(), x_len, len])
}

fn gather_rows<T: Real, I: Index>(x: &FlexTensor, indices: &FlexTensor) -> Option<FlexTensor> {
    let sizes = along_last(x, indices)?;
    let (x, dense) = (contiguous(x), contiguous(indices));
    let (x, places) = (numbers::<T>(&x), numbers::<I>(&dense));
    let rows = Rows::new(sizes, places)?;
    let at_once = rows.at_once();
    let out = in_chunks(places.len(), at_once * rows.indices, |chunk, out| {
        let first = chunk * at_once;
        let from = x[first * rows.x..].chunks_exact(rows.x);
        let places = places[first * rows.indices..].chunks_exact(rows.indices);
        for ((out, from), places) in out.chunks_exact_mut(rows.indices).zip(from).zip(places) {
            out.iter_mut().zip(places).for_each(|(out, index)| *out = from[to_index(index)]);
        }
    });
    Some(like(indices, out))
}

/// Adds to x, in place unless others hold it.
fn add_rows<T: Real, I: Index>(
    x: &mut FlexTensor,
    indices: &FlexTensor,
    values: &FlexTensor,
) -> Option<()> {
    let sizes = along_last(x, indices)?;
    let (indices, values) = (contiguous(indices), contiguous(values));
    let (indices, values) = (numbers::<I>(&indices), numbers::<T>(&values));
    let rows = Rows::new(sizes, indices)?;
    let at_once = rows.at_once();
    let (x_len, len) = (at_once * rows.x, at_once * rows.indices);
    if is_whole::<T>(x)
        && let Some(own) = x.try_storage_mut::<T>()
    {
        let data = indices.par_chunks(len).zip(values.par_chunks(len));
        let chunks = own.par_chunks_mut(x_len).zip(data);
        chunks.for_each(|(x, (indices, values))| rows.add(x, indices, values));
        return Some(());
    }
    let held = contiguous(x);
    let held = numbers::<T>(&held);
    let sum = in_chunks(held.len(), x_len, |chunk, sum| {
        sum.copy_from_slice(&held[chunk * x_len..][..sum.len()]);
        rows.add(sum, &indices[chunk * len..], &values[chunk * len..]);
    });
    *x = like(x, sum);
    Some(())
}

fn sum_in_planes<T: Real, I: Index>(
    x: &FlexTensor,
    indices: &FlexTensor,
    values: &FlexTensor,
) -> Option<FlexTensor> {
    let sizes = |tensor: &FlexTensor| tensor.layout().shape().as_slice().try_into().ok();
    let [images, channels, height, width]: [usize; 4] = sizes(x)?;
    let [of_images, of_channels, down, right]: [usize; 4] = sizes(values)?;
    if [of_images, of_channels] != [images, channels] {
        return None;
    }
    let (indices, values) = (contiguous(indices), contiguous(values));
    let (indices, values) = (numbers::<I>(&indices), numbers::<T>(&values));
    let rows = Rows::new([images * channels, height * width, down * right], indices)?;
    let (x_len, len) = (rows.at_once() * rows.x, rows.at_once() * rows.indices);
    let sums = in_chunks(rows.count * rows.x, x_len, |chunk, sums| {
        rows.add(sums, &indices[chunk * len..], &values[chunk * len..]);
    });
    Some(like(x, sums))
}
