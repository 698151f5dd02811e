//! Tensors of GPUs.

use std::any::Any;

use burn::backend::{
    BackendTensor, Cube, DispatchAutodiffContext, DispatchKindConversion, DispatchTensor,
    DispatchTensorKind,
};
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;

use crate::float;

/// A tensor of CubeCL: with Burn's own fusion, which another crate of the build may have enabled, tensors are those of that
/// backend.
pub(crate) fn is_cube(tensor: &dyn Any) -> Option<&CubeTensor> {
    tensor.downcast_ref()
}

/// The same tensor under the name of its type; they are the same where the first is one of CubeCL.
pub(crate) fn converted<A: 'static, B: 'static>(tensor: A) -> B {
    let mut tensor = Some(tensor);
    let same = (&mut tensor as &mut dyn Any).downcast_mut::<Option<B>>();
    same.and_then(Option::take).expect("all tensors of a backend are of one type")
}

/// `a + c b` for each pair of tensors, in one kernel if all are on one GPU and in f32.
pub(crate) fn axpy(
    a: &[DispatchTensor],
    c: f64,
    b: &[DispatchTensor],
) -> Option<Vec<DispatchTensor>> {
    let (a, b) = in_pairs(a.iter(), b.iter())?;
    Some(wrapped(bilevel_cube::axpy(a, c as f32, b)))
}

/// The inner product of tensors in pairs, if all are on one GPU and in f32. Waits for the device.
pub(crate) fn dot(pairs: &[(DispatchTensor, DispatchTensor)]) -> Option<f64> {
    let (a, b) = (pairs.iter().map(|(a, _)| a), pairs.iter().map(|(_, b)| b));
    let (a, b) = in_pairs(a, b)?;
    let sums = wrapped(vec![bilevel_cube::products(a, b)?]).pop()?;
    Some(float::read(sums).iter::<f64>().sum())
}

/// The tensors, if all are on one GPU and in f32, and those of a pair have one shape.
fn in_pairs<'a>(
    a: impl Iterator<Item = &'a DispatchTensor>,
    b: impl Iterator<Item = &'a DispatchTensor>,
) -> Option<(Vec<CubeTensor>, Vec<CubeTensor>)> {
    let (a, b) = (of_cube(a)?, of_cube(b)?);
    let same = |(a, b): (&CubeTensor, &CubeTensor)| {
        a.device == b.device && a.meta.shape() == b.meta.shape()
    };
    (a.len() == b.len() && a.iter().zip(&b).all(same)).then_some((a, b))
}

/// `c b` for each tensor, in one kernel if all are on one GPU and in f32.
pub(crate) fn scale(c: f64, b: &[DispatchTensor]) -> Option<Vec<DispatchTensor>> {
    Some(wrapped(bilevel_cube::scale(c as f32, of_cube(b.iter())?)))
}

/// A number that is 0 if no entry is NaN or infinite, if all tensors are on one GPU and in f32.
pub(crate) fn not_finite<'a>(
    tensors: impl Iterator<Item = &'a DispatchTensor>,
) -> Option<DispatchTensor> {
    wrapped(vec![bilevel_cube::not_finite(of_cube(tensors)?)?]).pop()
}

/// The tensors, if all are on one GPU and in f32, none is empty, and kernels can number their entries.
fn of_cube<'a>(tensors: impl Iterator<Item = &'a DispatchTensor>) -> Option<Vec<CubeTensor>> {
    let cube = |tensor: &DispatchTensor| match (&tensor.kind, &tensor.autodiff) {
        (
            DispatchTensorKind::Cube(BackendTensor::Float(value)),
            DispatchAutodiffContext::Disabled,
        ) => is_cube(value).cloned(),
        _ => None,
    };
    let tensors: Vec<_> = tensors.map(cube).collect::<Option<_>>()?;
    let device = &tensors.first()?.device;
    let fits = |tensor: &CubeTensor| {
        tensor.dtype == DType::F32 && tensor.device == *device && tensor.meta.num_elements() > 0
    };
    let entries: usize = tensors.iter().map(|tensor| tensor.meta.num_elements()).sum();
    (tensors.iter().all(fits) && entries <= u32::MAX as usize).then_some(tensors)
}

fn wrapped(tensors: Vec<CubeTensor>) -> Vec<DispatchTensor> {
    let wrap = |tensor| {
        let tensor = BackendTensor::<Cube>::Float(converted(tensor));
        <DispatchTensor as DispatchKindConversion<Cube>>::from_backend(tensor)
    };
    tensors.into_iter().map(wrap).collect()
}
