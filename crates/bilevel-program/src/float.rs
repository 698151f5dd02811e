//! Arithmetic on float tensors of any device, without ranks: the basis of vectors.
//!
//! Tensors of Flex are computed by [`FastFlex`], all others by Burn's own backends.

use std::cell::Cell;
use std::ops::Sub;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bilevel_flex::{FastFlex, FlexTensor, vectors};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{
    BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
    TensorMetadata,
};
use burn::tensor::{DType, Device, FloatDType, Scalar, Shape, Slice, TensorData, read_sync};

use crate::device_error::text;

/// A tensor of Flex as its own type, without a copy; any other unchanged.
#[allow(clippy::result_large_err, reason = "what was handed over comes back")]
pub(crate) fn into_flex(tensor: DispatchTensor) -> Result<FlexTensor, DispatchTensor> {
    match tensor {
        DispatchTensor {
            kind: DispatchTensorKind::Flex(BackendTensor::Float(tensor)),
            autodiff: DispatchAutodiffContext::Disabled,
        } => Ok(tensor),
        other => Err(other),
    }
}

/// A tensor of Flex as its own type.
pub(crate) fn flex(tensor: &DispatchTensor) -> Option<&FlexTensor> {
    match (&tensor.kind, &tensor.autodiff) {
        (
            DispatchTensorKind::Flex(BackendTensor::Float(value)),
            DispatchAutodiffContext::Disabled,
        ) => Some(value),
        _ => None,
    }
}

/// A tensor of Flex as one of any device.
pub(crate) fn from_flex(tensor: FlexTensor) -> DispatchTensor {
    DispatchTensor {
        kind: DispatchTensorKind::Flex(BackendTensor::Float(tensor)),
        autodiff: DispatchAutodiffContext::Disabled,
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $op:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(a: DispatchTensor $(, $arg: $type)*) -> DispatchTensor {
            match into_flex(a) {
                Ok(a) => from_flex(FastFlex::$op(a $(, $arg)*)),
                Err(a) => Dispatch::$op(a $(, $arg)*),
            }
        }
    )*};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(a: DispatchTensor, b: DispatchTensor) -> DispatchTensor {
            match (into_flex(a), into_flex(b)) {
                (Ok(a), Ok(b)) => from_flex(FastFlex::$op(a, b)),
                (a, b) => Dispatch::$op(a.map_or_else(|a| a, from_flex), b.map_or_else(|b| b, from_flex)),
            }
        }
    )*};
}

macro_rules! with_number {
    ($($(#[$doc:meta])* $name:ident = $op:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(a: DispatchTensor, c: f64) -> DispatchTensor {
            match into_flex(a) {
                Ok(a) => from_flex(FastFlex::$op(a, Scalar::Float(c))),
                Err(a) => Dispatch::$op(a, Scalar::Float(c)),
            }
        }
    )*};
}

binary! {
    /// `a + b`, with broadcasting.
    add = float_add;
    /// `a - b`, with broadcasting.
    sub = float_sub;
    /// `a * b`, with broadcasting.
    mul = float_mul;
    /// `a / b`, with broadcasting.
    div = float_div;
}

/// Operations that read tensors without consuming them: on Flex without a clone.
macro_rules! by_reference {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $fast:expr, $slow:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name($($arg: $type),*) -> DispatchTensor {
            match $fast {
                Some(result) => from_flex(result),
                None => $slow,
            }
        }
    )*};
}

by_reference! {
    /// `a + b`
    sum_of(a: &DispatchTensor, b: &DispatchTensor) =
        flex(a).zip(flex(b)).and_then(|(a, b)| vectors::add(a, b)), add(a.clone(), b.clone());
    /// `a - b`
    difference(a: &DispatchTensor, b: &DispatchTensor) =
        flex(a).zip(flex(b)).and_then(|(a, b)| vectors::sub(a, b)), sub(a.clone(), b.clone());
    /// `a + c b`
    axpy(a: &DispatchTensor, c: f64, b: &DispatchTensor) =
        flex(a).zip(flex(b)).and_then(|(a, b)| vectors::axpy(a, c, b)),
        add(a.clone(), mul_scalar(b.clone(), c));
    /// `c a`
    multiple(c: f64, a: &DispatchTensor) =
        flex(a).and_then(|a| vectors::scale(c, a)), mul_scalar(a.clone(), c);
}

/// `c b`, for each tensor.
pub(crate) fn scale_all(c: f64, b: &[DispatchTensor]) -> Vec<DispatchTensor> {
    #[cfg(feature = "cube")]
    if let Some(multiples) = crate::cube::scale(c, b) {
        return multiples;
    }
    b.iter().map(|b| multiple(c, b)).collect()
}

/// `a + c b`, for each pair of tensors.
pub(crate) fn axpy_all(a: &[DispatchTensor], c: f64, b: &[DispatchTensor]) -> Vec<DispatchTensor> {
    #[cfg(feature = "cube")]
    if let Some(sums) = crate::cube::axpy(a, c, b) {
        return sums;
    }
    let sum = |(a, b)| match c {
        1.0 => sum_of(a, b),
        -1.0 => difference(a, b),
        _ => axpy(a, c, b),
    };
    a.iter().zip(b).map(sum).collect()
}

with_number! {
    /// `a + c`
    add_scalar = float_add_scalar;
    /// `c a`
    mul_scalar = float_mul_scalar;
    /// `a / c`
    div_scalar = float_div_scalar;
    /// `a^c`, for an integer c.
    powi_scalar = float_powi_scalar;
    /// `max(a, c)`
    clamp_min = float_clamp_min;
    /// `min(a, c)`
    clamp_max = float_clamp_max;
}

unary! {
    /// `-a`
    neg() = float_neg;
    /// `1 / a`
    recip() = float_recip;
    /// The square root of each entry.
    sqrt() = float_sqrt;
    /// `exp(a)`
    exp() = float_exp;
    /// `|a|`
    abs() = float_abs;
    /// -1, 0 or 1: the sign of each entry.
    sign() = float_sign;
    /// The sum of all entries, of shape `[1]`.
    sum() = float_sum;
    /// The largest magnitude, of shape `[1]`.
    max_abs() = float_max_abs;
    /// The entries in their order, in another shape.
    reshape(shape: Shape) = float_reshape;
    /// The entries in another shape, repeating those along axes of length 1.
    expand(shape: Shape) = float_expand;
    /// A slice of a tensor.
    slice(slices: &[Slice]) = float_slice;
}

/// `min(max(a, low), high)`
pub fn clamp(a: DispatchTensor, low: f64, high: f64) -> DispatchTensor {
    clamp_max(clamp_min(a, low), high)
}

/// The entries in another element type.
pub fn cast(a: DispatchTensor, dtype: DType) -> DispatchTensor {
    if a.dtype() == dtype {
        return a;
    }
    let dtype = FloatDType::from(dtype);
    match into_flex(a) {
        Ok(a) => from_flex(FastFlex::float_cast(a, dtype)),
        Err(a) => Dispatch::float_cast(a, dtype),
    }
}

/// Zeros in the shape, the element type and on the device of `a`.
pub fn zeros_like(a: &DispatchTensor) -> DispatchTensor {
    Dispatch::float_zeros(a.shape(), &a.device(), a.dtype().into())
}

/// Concatenated along an axis.
pub fn cat(parts: Vec<DispatchTensor>, dim: usize) -> DispatchTensor {
    Dispatch::float_cat(parts, dim)
}

/// Transfers between the host and devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Tensors read by the host, each of which waits for the device.
    pub reads: usize,
    /// Tensors written by the host.
    pub writes: usize,
}

impl Sub for Transfers {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { reads: self.reads - before.reads, writes: self.writes - before.writes }
    }
}

thread_local! {
    static TRANSFERS: Cell<Transfers> = const { Cell::new(Transfers { reads: 0, writes: 0 }) };
}

/// What this thread has transferred so far, by [`read`], [`read_numbers`] and [`write()`], which vectors use too. On a
/// GPU a read waits.
pub fn transfers() -> Transfers {
    TRANSFERS.get()
}

/// A tensor with these values, in their element type.
pub fn write(data: TensorData, device: &Device) -> DispatchTensor {
    let Transfers { reads, writes } = transfers();
    TRANSFERS.set(Transfers { reads, writes: writes + 1 });
    Dispatch::float_from_data(data, device.as_dispatch())
}

/// The values, read from the device.
///
/// # Panics
/// If the device has failed, here or in what was asked of it before; [`device_failure`](crate::device_failure) tells that
/// from other panics.
pub fn read(tensor: DispatchTensor) -> TensorData {
    let Transfers { reads, writes } = transfers();
    TRANSFERS.set(Transfers { reads: reads + 1, writes });
    let read = || {
        let data =
            read_sync(Dispatch::float_into_data(tensor)).map_err(|error| error.to_string())?;
        // What comes from a GPU is copied where it is looked at first.
        let _ = data.as_bytes();
        Ok(data)
    };
    let read = catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|panic| Err(text(panic.as_ref()).unwrap_or_default().to_owned()));
    read.unwrap_or_else(|cause| panic!("the device failed while a tensor was read: {cause}"))
}

/// The numbers of tensors of shape `[1]`, in one read, in double precision.
///
/// # Panics
/// If the device fails.
pub fn read_numbers(mut numbers: Vec<DispatchTensor>) -> Vec<f64> {
    if numbers.len() == 1 {
        return numbers.pop().map(read).iter().flat_map(|number| number.iter::<f64>()).collect();
    }
    let Some(widest) = numbers.iter().map(TensorMetadata::dtype).max_by_key(DType::size) else {
        return Vec::new();
    };
    let together = cat(numbers.into_iter().map(|number| cast(number, widest)).collect(), 0);
    read(together).iter::<f64>().collect()
}
