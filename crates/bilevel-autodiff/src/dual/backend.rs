//! `Dual<B>` as a Burn backend.

use std::marker::PhantomData;

use burn::backend::distributed::DistributedOps;
use burn::backend::{
    Backend, BackendTypes, DType, DTypeUsageSet, ExecutionError, GraphUnsupported, MemoryPoolUsage,
    ProfileDuration, ProfileOptions, ProfileToken, SlicedPoolReport, TensorData,
};

use super::DualTensor;

/// Forward-mode differentiation on any Burn backend.
///
/// Every float tensor carries an optional tangent. Every operation computes its value exactly as `B` does and
/// propagates the tangents. Integer, boolean and quantised tensors are those of `B`.
///
/// * `Dual<B>` alone gives Jacobian-vector products.
/// * `Dual<Autodiff<B>>`, reverse over forward, gives Hessian-vector and mixed products in one backward pass
///   over the tangent of a loss.
/// * `Autodiff<Dual<B>>`, forward over reverse, gives the gradient and the product together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dual<B> {
    _inner: PhantomData<B>,
}

impl<B: Backend> BackendTypes for Dual<B> {
    type Device = B::Device;
    type FloatTensorPrimitive = DualTensor<B>;
    type IntTensorPrimitive = B::IntTensorPrimitive;
    type BoolTensorPrimitive = B::BoolTensorPrimitive;
    type QuantizedTensorPrimitive = B::QuantizedTensorPrimitive;
    type GraphPrimitive = GraphUnsupported;
}

impl<B: Backend> Backend for Dual<B> {
    // Layers that behave differently in training (batch statistics, dropout) check this: a loss must be the
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

    fn flush(device: &Self::Device) -> Result<(), ExecutionError> {
        B::flush(device)
    }

    fn memory_pool_report(device: &Self::Device) -> Option<Vec<SlicedPoolReport>> {
        B::memory_pool_report(device)
    }

    fn memory_pool_usage(device: &Self::Device) -> Option<MemoryPoolUsage> {
        B::memory_pool_usage(device)
    }

    fn profile<O: Send + 'static>(
        device: &Self::Device,
        options: ProfileOptions,
        func: impl FnOnce() -> O + Send,
    ) -> Result<(O, ProfileDuration), ExecutionError> {
        B::profile(device, options, func)
    }

    fn profile_start(device: &Self::Device) -> Result<Option<ProfileToken>, ExecutionError> {
        B::profile_start(device)
    }

    fn profile_end(
        device: &Self::Device,
        token: ProfileToken,
        options: ProfileOptions,
    ) -> Result<ProfileDuration, ExecutionError> {
        B::profile_end(device, token, options)
    }

    fn profile_abandon(device: &Self::Device, token: ProfileToken) {
        B::profile_abandon(device, token)
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

/// Training on several devices is not supported for tangents: these are Burn's defaults, which do nothing on
/// a single device.
impl<B: Backend> DistributedOps<Self> for Dual<B> {}
