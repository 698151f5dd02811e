//! Values that derivatives treat as constants.

use burn::backend::ir::{CustomOpIr, OperationIr, TensorIr};
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Capture, TensorMetadata};
use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use burn_router::{RouterClient, RouterTensor};

const NAME: &str = "stop_gradient";

/// `tensor`, as a constant in all derivatives: gradients, tangents and products stop there.
///
/// Burn's `detach` leaves no trace in a recording, so that a loss with it is refused; use this instead.
pub fn stop_gradient<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.clone().try_into_primitive::<Autodiff<Capture>>() {
        Ok(seen) => {
            let marked = mark(Autodiff::<Capture>::inner(seen));
            Tensor::from_primitive::<Autodiff<Capture>>(Autodiff::<Capture>::from_inner(marked))
        }
        Err(_) => tensor.detach(),
    }
}

/// Records that derivatives stop at `tensor`.
pub(crate) fn mark(tensor: FloatTensor<Capture>) -> FloatTensor<Capture> {
    let client = tensor.client.clone();
    let (shape, dtype) = (tensor.shape(), tensor.dtype());
    let id = client.create_empty_handle();
    let out = TensorIr::uninit(id, shape.clone(), dtype);
    client.register_op(OperationIr::Custom(CustomOpIr::new(NAME, &[tensor.into_ir()], &[out])));
    RouterTensor::new(id, shape, dtype, client)
}

/// The argument and the result of an operation at which derivatives stop.
pub(crate) fn stops(operation: &OperationIr) -> Option<(&TensorIr, &TensorIr)> {
    match operation {
        OperationIr::Custom(custom) if custom.id == NAME => {
            Some((&custom.inputs[0], &custom.outputs[0]))
        }
        _ => None,
    }
}
