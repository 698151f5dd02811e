//! Conversion between the elements of Flex tensors and slices.

use burn::backend::{Bytes, Element, Shape};
use burn_flex::{FlexTensor, Layout};
use bytemuck::Pod;
use rayon::prelude::*;

/// The same elements, without gaps.
pub(crate) fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() }
}

/// The elements of a contiguous tensor of this type.
pub(crate) fn numbers<T: Element + Pod>(tensor: &FlexTensor) -> &[T] {
    tensor.as_slice().expect("contiguous, and of a type that was checked")
}

pub(crate) fn tensor<T: Element + Pod + Send + Sync, const D: usize>(
    numbers: Vec<T>,
    sizes: [usize; D],
) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(numbers), Layout::contiguous(Shape::new(sizes)), T::dtype())
}

/// This many zeros, written by all threads if there are many.
pub(crate) fn zeros<T: num_traits::Zero + Copy + Send + Sync>(len: usize) -> Vec<T> {
    if len < 1 << 18 {
        vec![T::zero(); len]
    } else {
        rayon::iter::repeat_n(T::zero(), len).collect()
    }
}
