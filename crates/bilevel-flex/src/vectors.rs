//! Arithmetic on tensors without consuming them: the arguments are not cloned, and each result takes one pass.
//!
//! None is returned for tensors that are not dense, have another type than f32 and f64, or different shapes.

use burn::backend::DType;
use burn_flex::FlexTensor;

use crate::buffer;
use crate::elementwise::{Number, like};

/// `a + b`
pub fn add(a: &FlexTensor, b: &FlexTensor) -> Option<FlexTensor> {
    match a.dtype() {
        DType::F32 => zip::<f32>(a, b, |a, b| a + b),
        DType::F64 => zip::<f64>(a, b, |a, b| a + b),
        _ => None,
    }
}

/// `a - b`
pub fn sub(a: &FlexTensor, b: &FlexTensor) -> Option<FlexTensor> {
    match a.dtype() {
        DType::F32 => zip::<f32>(a, b, |a, b| a - b),
        DType::F64 => zip::<f64>(a, b, |a, b| a - b),
        _ => None,
    }
}

/// `a + c b`, rounded twice, as in two operations.
pub fn axpy(a: &FlexTensor, c: f64, b: &FlexTensor) -> Option<FlexTensor> {
    match a.dtype() {
        DType::F32 => {
            let c = c as f32;
            zip::<f32>(a, b, |a, b| a + b * c)
        }
        DType::F64 => zip::<f64>(a, b, |a, b| a + b * c),
        _ => None,
    }
}

/// `c a`
pub fn scale(c: f64, a: &FlexTensor) -> Option<FlexTensor> {
    match a.dtype() {
        DType::F32 => {
            let c = c as f32;
            map::<f32>(a, |a| a * c)
        }
        DType::F64 => map::<f64>(a, |a| a * c),
        _ => None,
    }
}

fn map<T: Number>(a: &FlexTensor, f: impl Fn(T) -> T + Copy + Sync + Send) -> Option<FlexTensor> {
    Some(like(a, buffer::map(a.as_slice::<T>()?, f)))
}

fn zip<T: Number>(
    a: &FlexTensor,
    b: &FlexTensor,
    f: impl Fn(T, T) -> T + Copy + Sync + Send,
) -> Option<FlexTensor> {
    let same = a.layout().shape() == b.layout().shape();
    let (left, right) = (a.as_slice::<T>()?, b.as_slice::<T>()?);
    same.then(|| like(a, buffer::zip(left, right, f)))
}
