//! From a loss on modules to a program.

use burn::backend::ir::{HandleKind, OperationIr};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{
    AutodiffBackend, BackendTensor, Capture, Dispatch, DispatchDevice, DispatchKindConversion,
    DispatchTensor, DispatchTensorKind, TensorMetadata,
};
use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use burn_autodiff::Autodiff;
use burn_capture::CaptureDevice;

use crate::execute::{Refused, name, refuse};
use crate::optimise::with_activations;
use crate::program::Program;
use crate::record::{Defaults, Meta, Symbol, record};
use crate::stop::stops;
use crate::{Batch, Layout, Tensors, TraceError};

/// The backend of Burn's modules while they are recorded: they see a device that differentiates, so that batch
/// normalisation computes as it does in training.
type Seen = Autodiff<Capture>;

/// A loss as a program, and Burn's own gradient of it, in the same inputs.
pub(crate) struct Traced {
    pub(crate) loss: Program,
    /// The outputs: the gradient in each variable.
    pub(crate) by_burn: Program,
}

/// What is recorded: the outputs, of any shapes.
pub(crate) type Function<'a, X, Y, D> =
    dyn Fn(&X, &Y, &D) -> Result<Vec<DispatchTensor>, TraceError> + 'a;

/// A loss of two modules and a batch, recorded for tensors of these shapes: the variables of x, those of y, and the
/// tensors of the batch.
///
/// # Errors
/// See [`TraceError`].
pub(crate) fn trace<X: Module, Y: Module, D: Batch>(
    x: (&X, &Layout),
    y: (&Y, &Layout),
    batch: &D,
    metas: &[Meta],
    defaults: Defaults,
    loss: &dyn Fn(&X, &Y, &D) -> Tensor<1>,
) -> Result<Traced, TraceError> {
    let one = |x: &X, y: &Y, batch: &D| Ok(vec![one_number(loss(x, y, batch))?]);
    trace_outputs(x, y, batch, metas, defaults, &one)
}

/// # Errors
/// If a loss is not a scalar.
pub(crate) fn one_number(value: Tensor<1>) -> Result<DispatchTensor, TraceError> {
    let shape: Vec<usize> = value.shape().iter().copied().collect();
    if shape != [1] {
        return Err(TraceError::NotOneNumber { shape });
    }
    Ok(value.into_dispatch())
}

/// [`trace`] for a function with any outputs: Burn's gradient is that of the sum of the last one.
///
/// # Errors
/// See [`TraceError`].
pub(crate) fn trace_outputs<X: Module, Y: Module, D: Batch>(
    (x, upper): (&X, &Layout),
    (y, lower): (&Y, &Layout),
    batch: &D,
    metas: &[Meta],
    defaults: Defaults,
    function: &Function<'_, X, Y, D>,
) -> Result<Traced, TraceError> {
    let variables = upper.leaves().len() + lower.leaves().len();
    let mut count = 0;
    let program = record(metas, defaults, |symbols, device| {
        let mut leaves = Vec::new();
        let lifted: Vec<_> = symbols
            .into_iter()
            .enumerate()
            .map(|(at, symbol)| {
                let tensor = lift(symbol, at < variables);
                if let BackendTensor::Float(leaf) = &tensor
                    && at < variables
                {
                    leaves.push(leaf.clone());
                }
                <DispatchTensor as DispatchKindConversion<Seen>>::from_backend(tensor)
            })
            .collect();
        let mut rest = lifted;
        let data = rest.split_off(variables);
        let of_y = rest.split_off(upper.leaves().len());
        let on = Device::new(DispatchDevice::Capture(*device));
        let x = seen(x, upper, rest, &on);
        let y = seen(y, lower, of_y, &on);
        let batch = batch.read_tensors(&mut Tensors { tensors: data.into(), variants: Vec::new() });
        let results = function(&x, &y, &batch)?;
        count = results.len();
        let (mut outputs, mut last) = (Vec::new(), None);
        for value in results {
            let tracked =
                <DispatchTensor as DispatchKindConversion<Seen>>::try_into_backend(value.clone());
            last = match tracked {
                Ok(BackendTensor::Float(value)) => {
                    outputs.push(Ok(HandleKind::Float(Seen::inner(value.clone()))));
                    Some(value)
                }
                // It depends on no argument.
                _ => {
                    outputs.push(Ok(constant(value, device)));
                    None
                }
            };
        }
        let Some(value) = last else {
            outputs.extend(metas[..variables].iter().cloned().map(Err));
            return Ok(outputs);
        };
        let zeros = Capture::float_zeros(value.shape(), device, value.dtype().into());
        let root = Seen::float_set_require_grad(Seen::from_inner(zeros), true);
        let mut gradients = Seen::backward(Seen::float_add(value, root));
        for (leaf, meta) in leaves.iter().zip(metas) {
            let found = Seen::grad_remove(leaf, &mut gradients);
            outputs.push(found.map(HandleKind::Float).ok_or_else(|| meta.clone()));
        }
        Ok(outputs)
    })?;
    let loss = with_activations(&program.only(&(0..count).collect::<Vec<_>>()));
    let recorded = loss.operations.iter().filter(|operation| stops(operation).is_none());
    for operation in recorded {
        if let Some(why) = refuse(operation) {
            return Err(refused(why));
        }
        one_float_type(operation)?;
    }
    let by_burn = program.only(&(count..count + variables).collect::<Vec<_>>());
    Ok(Traced { loss, by_burn })
}

/// # Errors
/// If float operands have several element types, which no kernel takes.
fn one_float_type(operation: &OperationIr) -> Result<(), TraceError> {
    let mut types = operation.inputs().map(|tensor| tensor.dtype).filter(DType::is_float);
    let Some(first) = types.next() else { return Ok(()) };
    match types.find(|dtype| *dtype != first) {
        Some(other) => Err(TraceError::Operation {
            operation: name(operation),
            reason: format!(
                "its operands have the element types {first:?} and {other:?}: pass the batch in the element type \
                 of the parameters, or `cast` in the loss"
            ),
        }),
        None => Ok(()),
    }
}

/// Why an operation is refused, with the cure.
fn refused(why: Refused) -> TraceError {
    let (operation, reason) = match why {
        Refused::Random(operation) => (
            operation,
            "it draws random numbers, so that each evaluation is a different function: draw them outside of the \
             loss and pass them in the batch, such as the mask of a dropout, or leave dropout out",
        ),
        Refused::Quantised(operation) => {
            (operation, "quantised tensors have no derivative: dequantise them first")
        }
        Refused::Unknown(operation) => {
            (operation, "it has no rule: write it with the operations of Burn's tensors")
        }
    };
    TraceError::Operation { operation, reason: reason.into() }
}

fn lift(symbol: Symbol, tracked: bool) -> BackendTensor<Seen> {
    match symbol {
        HandleKind::Float(tensor) => {
            let tensor = Seen::from_inner(tensor);
            BackendTensor::Float(if tracked {
                Seen::float_set_require_grad(tensor, true)
            } else {
                tensor
            })
        }
        HandleKind::Int(tensor) => BackendTensor::Int(tensor),
        HandleKind::Bool(tensor) => BackendTensor::Bool(tensor),
        HandleKind::Quantized(_) => unreachable!("quantised tensors are no inputs"),
    }
}

/// A loss whose result is on another device, as a constant.
fn constant(value: DispatchTensor, device: &CaptureDevice) -> Symbol {
    let moved = Dispatch::float_to_device(value, &DispatchDevice::Capture(*device));
    match moved.kind {
        DispatchTensorKind::Capture(BackendTensor::Float(tensor)) => HandleKind::Float(tensor),
        _ => unreachable!("it was moved to the device that records"),
    }
}

/// `module` in training mode, with its variables set to `values` and everything else as constants on `device`.
pub(crate) fn seen<M: Module>(
    module: &M,
    layout: &Layout,
    values: Vec<DispatchTensor>,
    device: &Device,
) -> M {
    struct Set<'a> {
        layout: &'a Layout,
        values: Vec<DispatchTensor>,
    }
    impl ModuleMapper for Set<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match self.layout.position(param.id) {
                Some(at) => {
                    let value = Tensor::from_dispatch(self.values[at].clone());
                    Param::initialized(param.id, value)
                }
                None => param,
            }
        }
        fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
            flag.train()
        }
    }
    // Running statistics are shared by all clones of a module and would change with this one: `valid` creates new ones.
    let own = module.clone().valid();
    own.to_device(device).map(&mut Set { layout, values })
}
