//! Elementwise operations on whole tensors: by all threads, in place where nobody else holds an operand.
//!
//! Each returns `Err` with what it was given if it has no kernel for it: another element type than the
//! function's, a view, broadcasting, or so few elements that Flex is as fast.
// What is given back is two tensors, large but not worth a box on the way to Flex.
#![allow(clippy::result_large_err)]

use burn::tensor::{Bytes, DType, Element};
use burn_flex::{FlexTensor, Layout};
use bytemuck::Pod;

use crate::broadcast::broadcast;
use crate::buffer;

/// Below so many elements, an operation of Flex is as fast.
pub(crate) const SMALL: usize = 1 << 10;

/// An element type with kernels.
pub(crate) trait Number: Element + Pod + Send + Sync {
    /// One of two numbers, without a branch: which it is can't be predicted.
    fn select(first: bool, one: Self, other: Self) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn select(first: bool, one: Self, other: Self) -> Self {
        let mask = u32::from(first).wrapping_neg();
        Self::from_bits((one.to_bits() & mask) | (other.to_bits() & !mask))
    }
}

impl Number for f64 {
    #[inline(always)]
    fn select(first: bool, one: Self, other: Self) -> Self {
        let mask = u64::from(first).wrapping_neg();
        Self::from_bits((one.to_bits() & mask) | (other.to_bits() & !mask))
    }
}

/// Whether `tensor` is all of its buffer, in row-major order, of elements `T`.
pub(crate) fn is_whole<T: Element>(tensor: &FlexTensor) -> bool {
    let layout = tensor.layout();
    tensor.dtype() == T::dtype()
        && layout.is_contiguous()
        && layout.start_offset() == 0
        && tensor.bytes().len() == layout.num_elements() * size_of::<T>()
}

/// A tensor of new values in the shape of another.
pub(crate) fn like<T: Number>(shape: &FlexTensor, values: Vec<T>) -> FlexTensor {
    of_dtype(shape, values, T::dtype())
}

fn of_dtype<T: Pod + Send + Sync>(shape: &FlexTensor, values: Vec<T>, dtype: DType) -> FlexTensor {
    let layout = Layout::contiguous(shape.layout().shape().clone());
    FlexTensor::new(Bytes::from_elems(values), layout, dtype)
}

/// `f(a)`, of at least `least` elements.
pub(crate) fn unary<T: Number>(
    mut a: FlexTensor,
    least: usize,
    f: impl Fn(T) -> T + Copy + Sync + Send,
) -> Result<FlexTensor, FlexTensor> {
    if a.layout().num_elements() < least || !is_whole::<T>(&a) {
        return Err(a);
    }
    if let Some(values) = a.try_storage_mut::<T>() {
        buffer::map_in_place(values, f);
        return Ok(a);
    }
    let values = buffer::map(a.storage::<T>(), f);
    Ok(like(&a, values))
}

/// `f(a, b)` of two tensors, of which one may be repeated over the other.
pub(crate) fn binary<T: Number>(
    mut a: FlexTensor,
    mut b: FlexTensor,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
) -> Result<FlexTensor, (FlexTensor, FlexTensor)> {
    let (of_a, of_b) = (a.layout().num_elements(), b.layout().num_elements());
    if of_a.max(of_b) < SMALL {
        return Err((a, b));
    }
    if a.layout().shape() != b.layout().shape() {
        return if of_a >= of_b {
            broadcast(a, &b, f).map_err(|a| (a, b))
        } else {
            broadcast(b, &a, |b, a| f(a, b)).map_err(|b| (a, b))
        };
    }
    if !is_whole::<T>(&a) || !is_whole::<T>(&b) {
        return Err((a, b));
    }
    if let Some(values) = a.try_storage_mut::<T>() {
        buffer::zip_in_place(values, b.storage::<T>(), f);
        return Ok(a);
    }
    if let Some(values) = b.try_storage_mut::<T>() {
        buffer::zip_in_place(values, a.storage::<T>(), |b, a| f(a, b));
        return Ok(b);
    }
    let values = buffer::zip(a.storage::<T>(), b.storage::<T>(), f);
    Ok(like(&a, values))
}

/// `value` where `mask` is set, `a` elsewhere; two tensors of one shape.
pub(crate) fn fill<T: Number>(
    mut a: FlexTensor,
    mask: FlexTensor,
    value: T,
) -> Result<FlexTensor, (FlexTensor, FlexTensor)> {
    let n = a.layout().num_elements();
    let whole = is_whole::<T>(&a) && is_mask(&mask);
    if n < SMALL || !whole || a.layout().shape() != mask.layout().shape() {
        return Err((a, mask));
    }
    let f = |a: T, set: u8| T::select(set != 0, value, a);
    if let Some(values) = a.try_storage_mut::<T>() {
        buffer::zip_in_place(values, mask.bytes(), f);
        return Ok(a);
    }
    let values = buffer::zip(a.storage::<T>(), mask.bytes(), f);
    Ok(like(&a, values))
}

/// Whether `mask` is all of its buffer, a byte an element.
fn is_mask(mask: &FlexTensor) -> bool {
    let layout = mask.layout();
    matches!(mask.dtype(), DType::Bool(_))
        && layout.is_contiguous()
        && layout.start_offset() == 0
        && mask.bytes().len() == layout.num_elements()
}

/// Whether `f` holds of the elements of a tensor, as booleans of `out`.
pub(crate) fn predicate<T: Number>(
    a: FlexTensor,
    out: DType,
    f: impl Fn(T) -> bool + Copy + Sync + Send,
) -> Result<FlexTensor, FlexTensor> {
    use burn::tensor::BoolStore::{Native, U8};
    let bytes = matches!(out, DType::Bool(Native | U8));
    if a.layout().num_elements() < SMALL || !bytes || !is_whole::<T>(&a) {
        return Err(a);
    }
    let values = buffer::map(a.storage::<T>(), |a| u8::from(f(a)));
    Ok(of_dtype(&a, values, out))
}
