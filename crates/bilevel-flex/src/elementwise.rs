//! Elementwise operations on whole tensors: on all threads, and in place where an operand is not shared.
//!
//! Cases without a kernel are left to Flex: element types that the function does not support, and views.

use burn::backend::{Bytes, DType, Element};
use burn_flex::{FlexTensor, Layout};
use bytemuck::Pod;
use num_traits::Float;

use crate::buffer::{self, Repeat};
use crate::functions;

/// An element type with kernels.
pub(crate) trait Number: Element + Pod + Send + Sync + Float {
    const ZERO: Self;
    const ONE: Self;

    /// The nearest number of this type.
    fn of(number: f64) -> Self;

    /// Selects one of two numbers without a branch, because the choice is unpredictable.
    fn select(first: bool, one: Self, other: Self) -> Self;

    fn exponential(self) -> Self;
    fn logarithm(self) -> Self;
    fn hyperbolic_tangent(self) -> Self;
    fn sigmoid(self) -> Self;
}

impl Number for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn of(number: f64) -> Self {
        number as Self
    }

    #[inline(always)]
    fn select(first: bool, one: Self, other: Self) -> Self {
        let mask = u32::from(first).wrapping_neg();
        Self::from_bits((one.to_bits() & mask) | (other.to_bits() & !mask))
    }

    #[inline(always)]
    fn exponential(self) -> Self {
        functions::exp(self)
    }

    #[inline(always)]
    fn logarithm(self) -> Self {
        functions::log(self)
    }

    #[inline(always)]
    fn hyperbolic_tangent(self) -> Self {
        functions::tanh(self)
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        functions::sigmoid(self)
    }
}

/// The functions of Flex.
impl Number for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn of(number: f64) -> Self {
        number
    }

    #[inline(always)]
    fn select(first: bool, one: Self, other: Self) -> Self {
        let mask = u64::from(first).wrapping_neg();
        Self::from_bits((one.to_bits() & mask) | (other.to_bits() & !mask))
    }

    fn exponential(self) -> Self {
        self.exp()
    }

    fn logarithm(self) -> Self {
        self.ln()
    }

    fn hyperbolic_tangent(self) -> Self {
        self.tanh()
    }

    fn sigmoid(self) -> Self {
        if self >= 0.0 {
            1.0 / (1.0 + (-self).exp())
        } else {
            let e = self.exp();
            e / (1.0 + e)
        }
    }
}

/// Whether `tensor` is its entire buffer, in row-major order, with elements `T`.
pub(crate) fn is_whole<T: Element>(tensor: &FlexTensor) -> bool {
    let layout = tensor.layout();
    tensor.dtype() == T::dtype()
        && layout.is_contiguous()
        && layout.start_offset() == 0
        && tensor.bytes().len() == layout.num_elements() * size_of::<T>()
}

/// A tensor with new values in the shape of another.
pub(crate) fn like<T: Number>(tensor: &FlexTensor, values: Vec<T>) -> FlexTensor {
    let layout = Layout::contiguous(tensor.layout().shape().clone());
    FlexTensor::new(Bytes::from_elems(values), layout, T::dtype())
}

/// `f(a)`.
pub(crate) fn unary<T: Number>(
    mut a: FlexTensor,
    f: impl Fn(T) -> T + Copy + Sync + Send,
    flex: impl FnOnce(FlexTensor) -> FlexTensor,
) -> FlexTensor {
    if !is_whole::<T>(&a) {
        return flex(a);
    }
    if let Some(values) = a.try_storage_mut::<T>() {
        buffer::map_in_place(values, f);
        return a;
    }
    let values = buffer::map(a.storage::<T>(), f);
    like(&a, values)
}

/// `f(a, b)` of two tensors, one of which may be broadcast over the other.
pub(crate) fn binary<T: Number>(
    a: FlexTensor,
    b: FlexTensor,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
    flex: impl FnOnce(FlexTensor, FlexTensor) -> FlexTensor,
) -> FlexTensor {
    let whole = is_whole::<T>(&a) && is_whole::<T>(&b);
    if !whole {
        flex(a, b)
    } else if a.layout().shape() == b.layout().shape() {
        pairwise(a, b, f)
    } else if let Some(repeat) = repetition(&a, &b) {
        repeated(a, &b, repeat, f)
    } else if let Some(repeat) = repetition(&b, &a) {
        repeated(b, &a, repeat, |b, a| f(a, b))
    } else {
        flex(a, b)
    }
}

fn pairwise<T: Number>(
    mut a: FlexTensor,
    mut b: FlexTensor,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
) -> FlexTensor {
    if let Some(values) = a.try_storage_mut::<T>() {
        buffer::zip_in_place(values, b.storage::<T>(), f);
        return a;
    }
    if let Some(values) = b.try_storage_mut::<T>() {
        buffer::zip_in_place(values, a.storage::<T>(), |b, a| f(a, b));
        return b;
    }
    let values = buffer::zip(a.storage::<T>(), b.storage::<T>(), f);
    like(&a, values)
}

fn repeated<T: Number>(
    mut a: FlexTensor,
    b: &FlexTensor,
    repeat: Repeat,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
) -> FlexTensor {
    let b = b.storage::<T>();
    if let Some(values) = a.try_storage_mut::<T>() {
        buffer::zip_repeated_in_place(values, b, repeat, f);
        return a;
    }
    let values = buffer::zip_repeated(a.storage::<T>(), b, repeat, f);
    like(&a, values)
}

/// How `small` is broadcast over `large`, both whole: as a row over a matrix, or as a column, in runs long
/// enough for a kernel.
fn repetition(large: &FlexTensor, small: &FlexTensor) -> Option<Repeat> {
    /// Below this run length, Flex is as fast.
    const SHORT: usize = 8;
    let (of_large, of_small) =
        (large.layout().shape().as_slice(), small.layout().shape().as_slice());
    if of_large.len() != of_small.len() {
        return None;
    }
    let ones = of_small.iter().take_while(|&&size| size == 1).count();
    let count: usize = of_small[ones..].iter().product();
    if count >= SHORT && of_small[ones..] == of_large[ones..] {
        return Some(Repeat::All);
    }
    let ones = of_small.iter().rev().take_while(|&&size| size == 1).count();
    let cut = of_small.len() - ones;
    let length: usize = of_large[cut..].iter().product();
    (length >= SHORT && of_small[..cut] == of_large[..cut]).then_some(Repeat::Each(length))
}

/// `value` where `mask` is set, `a` elsewhere; two tensors of the same shape.
pub(crate) fn fill<T: Number>(
    mut a: FlexTensor,
    mask: FlexTensor,
    value: T,
    flex: impl FnOnce(FlexTensor, FlexTensor) -> FlexTensor,
) -> FlexTensor {
    if !is_whole::<T>(&a) || !is_mask(&mask) || a.layout().shape() != mask.layout().shape() {
        return flex(a, mask);
    }
    let f = |a: T, set: u8| T::select(set != 0, value, a);
    if let Some(values) = a.try_storage_mut::<T>() {
        buffer::zip_in_place(values, mask.bytes(), f);
        return a;
    }
    let values = buffer::zip(a.storage::<T>(), mask.bytes(), f);
    like(&a, values)
}

/// Whether `mask` is its entire buffer, with one byte per element.
fn is_mask(mask: &FlexTensor) -> bool {
    let layout = mask.layout();
    matches!(mask.dtype(), DType::Bool(_))
        && layout.is_contiguous()
        && layout.start_offset() == 0
        && mask.bytes().len() == layout.num_elements()
}
