//! `Dual<B>` as a Burn backend.

use std::marker::PhantomData;

use burn::tensor::backend::{
    AutodiffBackend, Backend, BackendTypes, DTypeUsageSet, ExecutionError,
};
use burn::tensor::ops::{BoolTensor, FloatTensor, IntTensor, QuantizedTensor};
use burn::tensor::{DType, TensorData};

use super::DualTensor;

/// Forward-mode differentiation on any Burn backend.
///
/// Every float tensor carries an optional tangent; every operation computes its value exactly as `B`
/// does and pushes the tangents forward. Integer, boolean and quantised tensors are those of `B`.
///
/// * `Dual<B>` alone gives Jacobian-vector products ([`jvp`](crate::jvp)).
/// * `Dual<Autodiff<B>>`, reverse over forward, gives Hessian-vector and mixed products in one
///   backward pass over the tangent of a loss ([`second_order`](crate::second_order)).
/// * `Autodiff<Dual<B>>`, forward over reverse, gives the gradient and the product together
///   ([`grad_and_hvp`](crate::grad_and_hvp)).
///
/// It implements [`AutodiffBackend`] so that Burn's `AutodiffModule::from_inner` lifts a module to it:
/// `inner` is the primal, `from_inner` a constant. There is no graph to go back through, and
/// `backward` panics with the name of what to call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dual<B> {
    _inner: PhantomData<B>,
}

impl<B: Backend> BackendTypes for Dual<B> {
    type Device = B::Device;
    type FloatTensorPrimitive = DualTensor<B>;
    type FloatElem = B::FloatElem;
    type IntTensorPrimitive = B::IntTensorPrimitive;
    type IntElem = B::IntElem;
    type BoolTensorPrimitive = B::BoolTensorPrimitive;
    type BoolElem = B::BoolElem;
    type QuantizedTensorPrimitive = B::QuantizedTensorPrimitive;
}

impl<B: Backend> Backend for Dual<B> {
    // Layers that behave otherwise in training (batch statistics, dropout) ask this: a loss must be the
    // same function on every level at which it is differentiated.
    fn ad_enabled(_: &Self::Device) -> bool {
        true
    }

    fn memory_persistent_allocations<
        Output: Send,
        Input: Send,
        Func: Fn(Input) -> Output + Send,
    >(
        device: &Self::Device,
        input: Input,
        func: Func,
    ) -> Output {
        B::memory_persistent_allocations(device, input, func)
    }

    fn memory_cleanup(device: &Self::Device) {
        B::memory_cleanup(device)
    }

    fn name(device: &Self::Device) -> String {
        format!("dual<{}>", B::name(device))
    }

    fn seed(device: &Self::Device, seed: u64) {
        B::seed(device, seed)
    }

    fn sync(device: &Self::Device) -> Result<(), ExecutionError> {
        B::sync(device)
    }

    fn staging<'a, Iter>(data: Iter, device: &Self::Device)
    where
        Iter: Iterator<Item = &'a mut TensorData>,
    {
        B::staging(data, device)
    }

    fn supports_dtype(device: &Self::Device, dtype: DType) -> bool {
        B::supports_dtype(device, dtype)
    }

    fn dtype_usage(device: &Self::Device, dtype: DType) -> DTypeUsageSet {
        B::dtype_usage(device, dtype)
    }

    fn device_count(type_id: u16) -> usize {
        B::device_count(type_id)
    }
}

/// The gradients of [`Dual`]: there are none, and no value of this type exists.
#[derive(Debug)]
pub enum NoGradients {}

impl<B: Backend> AutodiffBackend for Dual<B> {
    type InnerBackend = B;
    type Gradients = NoGradients;

    fn backward(_tensor: FloatTensor<Self>) -> NoGradients {
        panic!(
            "Dual<B> is forward mode and has no backward pass: call `bilevel_autodiff::grad`, or \
             `second_order` for second-order products"
        )
    }

    fn grad(_: &FloatTensor<Self>, grads: &NoGradients) -> Option<FloatTensor<B>> {
        match *grads {}
    }

    fn grad_remove(_: &FloatTensor<Self>, grads: &mut NoGradients) -> Option<FloatTensor<B>> {
        match *grads {}
    }

    fn grad_replace(_: &FloatTensor<Self>, grads: &mut NoGradients, _: FloatTensor<B>) {
        match *grads {}
    }

    fn inner(tensor: FloatTensor<Self>) -> FloatTensor<B> {
        tensor.primal
    }

    fn from_inner(tensor: FloatTensor<B>) -> FloatTensor<Self> {
        DualTensor::constant(tensor)
    }

    fn int_inner(tensor: IntTensor<Self>) -> IntTensor<B> {
        tensor
    }

    fn int_from_inner(tensor: IntTensor<B>) -> IntTensor<Self> {
        tensor
    }

    fn bool_inner(tensor: BoolTensor<Self>) -> BoolTensor<B> {
        tensor
    }

    fn bool_from_inner(tensor: BoolTensor<B>) -> BoolTensor<Self> {
        tensor
    }

    fn q_inner(tensor: QuantizedTensor<Self>) -> QuantizedTensor<B> {
        tensor
    }

    fn q_from_inner(tensor: QuantizedTensor<B>) -> QuantizedTensor<Self> {
        tensor
    }
}
