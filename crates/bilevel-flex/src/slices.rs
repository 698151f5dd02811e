//! Operations on numbers in memory, for programs of small tensors: without allocation or parallelism.

use burn::backend::{Bytes, DType, Shape};
use burn::tensor::BoolStore;
use burn_flex::{FlexTensor, Layout};

use crate::elementwise::Number;
use crate::gemm::{self, Matrix, MatrixMut, Store, Threads};

/// f32 or f64.
#[allow(private_bounds, reason = "no other type has kernels")]
pub trait Real: Number + gemm::Real {}

impl Real for f32 {}
impl Real for f64 {}

/// A matrix in row-major order, or its transpose.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a, T> {
    /// The entries.
    pub entries: &'a [T],
    /// Whether the entries are those of the transpose.
    pub transposed: bool,
}

impl<'a, T: Real> Factor<'a, T> {
    fn matrix(self, [rows, columns]: [usize; 2]) -> Matrix<'a, T> {
        match self.transposed {
            false => Matrix::rows(self.entries, [rows, columns]),
            true => Matrix::rows(self.entries, [columns, rows]).transposed(),
        }
    }
}

/// `out = a b` of sizes `[m, k]` and `[k, n]`, in row-major order.
///
/// # Panics
/// If the slices are shorter than the matrices.
pub fn product<T: Real>(out: &mut [T], a: Factor<'_, T>, b: Factor<'_, T>, [m, k, n]: [usize; 3]) {
    let (a, b) = (a.matrix([m, k]), b.matrix([k, n]));
    gemm::multiply(MatrixMut::rows(out, [m, n]), a, b, Store::Replace, Threads::One);
}

/// The entries of a tensor in row-major order, if they are stored so and have this type.
pub fn entries<T: Real>(tensor: &FlexTensor) -> Option<&[T]> {
    tensor.as_slice::<T>()
}

/// The entries of a mask with one byte each, if they are stored in row-major order.
pub fn mask_entries(tensor: &FlexTensor) -> Option<&[u8]> {
    let (start, end) = tensor.layout().contiguous_offsets()?;
    let bytes = matches!(tensor.dtype(), DType::Bool(BoolStore::Native | BoolStore::U8));
    bytes.then(|| &tensor.bytes()[start..end])
}

/// Entries as a tensor.
pub fn tensor<T: Real>(entries: &[T], shape: Shape) -> FlexTensor {
    let bytes = Bytes::from_elems(entries.to_vec());
    FlexTensor::new(bytes, Layout::contiguous(shape), T::dtype())
}

/// The numbers that are not 0 as a mask with one byte per entry.
pub fn mask<T: Real>(entries: &[T], shape: Shape, dtype: DType) -> FlexTensor {
    let bytes: Vec<u8> = entries.iter().map(|&number| u8::from(number != T::ZERO)).collect();
    FlexTensor::new(Bytes::from_elems(bytes), Layout::contiguous(shape), dtype)
}

/// A mask as numbers, 1 and 0.
pub fn unmask<T: Real>(out: &mut [T], mask: &[u8]) {
    out.iter_mut().zip(mask).for_each(|(out, &set)| *out = if set != 0 { T::ONE } else { T::ZERO });
}

/// A buffer of f64, which is aligned for either type, as numbers.
#[inline(always)]
pub fn numbers<T: Real>(buffer: &[f64]) -> &[T] {
    bytemuck::cast_slice(buffer)
}

/// The same, to write.
#[inline(always)]
pub fn numbers_mut<T: Real>(buffer: &mut [f64]) -> &mut [T] {
    bytemuck::cast_slice_mut(buffer)
}
