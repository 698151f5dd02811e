//! Recording a computation instead of running it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use burn::backend::ir::HandleKind;
use burn::backend::ir::{TensorId, TensorIr, TensorStatus};
use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn::backend::{Capture, Dispatch, DispatchDevice, get_device_settings, set_default_dtypes};
use burn::backend::{DeviceSettings, TensorMetadata};
use burn::tensor::{BoolDType, DType, FloatDType, IntDType, Shape};
use burn_capture::CaptureDevice;

use crate::TraceError;
use crate::device_error::{device_failure, text};
use crate::program::{Program, Recorded, Recording};

/// A tensor of the backend that records.
pub(crate) type Symbol = HandleKind<Capture>;

/// Shape and element type of an input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Meta {
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
}

/// The element types of tensors that are created without naming one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Defaults {
    float: FloatDType,
    int: IntDType,
    bool: BoolDType,
}

impl Defaults {
    pub(crate) fn on(device: &DispatchDevice) -> Self {
        Self::of(get_device_settings::<Dispatch>(device))
    }

    fn of(settings: DeviceSettings) -> Self {
        Self { float: settings.float_dtype, int: settings.int_dtype, bool: settings.bool_dtype }
    }
}

/// Records what `f` computes from tensors of these shapes; `f` returns the outputs, none meaning zero.
///
/// # Errors
/// If `f` panics, or fails; if the device does at what `f` reads.
pub(crate) fn record(
    inputs: &[Meta],
    defaults: Defaults,
    f: impl FnOnce(Vec<Symbol>, &CaptureDevice) -> Result<Vec<Result<Symbol, Meta>>, TraceError>,
) -> Result<Program, TraceError> {
    let device = Lent::of(defaults);
    let mut failed = None;
    let (mut input_irs, mut outputs) = (Vec::new(), Vec::new());
    let captured = catch_unwind(AssertUnwindSafe(|| {
        device.of.capture_scope(|scope| {
            let symbols: Vec<_> = inputs.iter().map(|meta| symbol(meta, &device.of)).collect();
            input_irs = symbols.iter().map(ir).collect();
            // Kept until the end: a tensor that was passed on must not be overwritten in place.
            let kept = symbols.clone();
            match f(symbols, &device.of) {
                Ok(results) => {
                    outputs = results.iter().map(recorded).collect();
                    drop(results);
                }
                Err(error) => failed = Some(error),
            }
            drop(kept);
            scope.complete([], [])
        })
    }));
    if let Some(error) = failed {
        return Err(error);
    }
    let graph = captured
        .map_err(|panic| panicked(panic.as_ref()))?
        .map_err(|error| TraceError::Panic { message: error.to_string() })?;
    Ok(Program::of(Recording {
        operations: graph.graph.operations,
        inputs: input_irs,
        values: graph.values,
        outputs,
    }))
}

/// A device that records, lent to one recording at a time: there are 65,536 in the life of a process.
struct Lent {
    of: CaptureDevice,
    defaults: Defaults,
}

static IDLE: Mutex<Vec<Lent>> = Mutex::new(Vec::new());

impl Lent {
    fn of(defaults: Defaults) -> Self {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = idle.iter().position(|lent| lent.defaults == defaults) {
            return idle.swap_remove(at);
        }
        drop(idle);
        let of = CaptureDevice::default();
        let Defaults { float, int, bool } = defaults;
        // Its defaults, and those of the device by which Burn's tensors name it. A device reports its element types
        // only within a scope.
        let set = of.capture_scope(|scope| {
            set_default_dtypes::<Capture>(&of, float, int, bool)
                .expect("a new device has no settings");
            let by_burn = DispatchDevice::Capture(of);
            set_default_dtypes::<Dispatch>(&by_burn, float, int, bool).ok();
            set_default_dtypes::<Dispatch>(&DispatchDevice::autodiff(by_burn), float, int, bool)
                .ok();
            scope.complete([], [])
        });
        set.expect("a new device records nothing yet");
        Self { of, defaults }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let back = Self { of: self.of, defaults: self.defaults };
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(back);
    }
}

fn symbol(meta: &Meta, device: &CaptureDevice) -> Symbol {
    let (shape, dtype) = (meta.shape.clone(), meta.dtype);
    if dtype.is_float() {
        HandleKind::Float(Capture::float_empty(shape, device, dtype.into()))
    } else if dtype.is_bool() {
        HandleKind::Bool(Capture::bool_empty(shape, device, dtype.into()))
    } else {
        HandleKind::Int(Capture::int_empty(shape, device, dtype.into()))
    }
}

fn parts(symbol: &Symbol) -> (TensorId, Shape, DType) {
    match symbol {
        HandleKind::Float(tensor) => of::<FloatTensor<Capture>>(tensor, tensor.id()),
        HandleKind::Int(tensor) => of::<IntTensor<Capture>>(tensor, tensor.id()),
        HandleKind::Bool(tensor) => of::<BoolTensor<Capture>>(tensor, tensor.id()),
        HandleKind::Quantized(_) => unreachable!("quantised tensors are not recorded"),
    }
}

fn of<T: TensorMetadata>(tensor: &T, id: TensorId) -> (TensorId, Shape, DType) {
    (id, tensor.shape(), tensor.dtype())
}

fn ir(symbol: &Symbol) -> TensorIr {
    let (id, shape, dtype) = parts(symbol);
    TensorIr { id, shape, dtype, status: TensorStatus::ReadOnly }
}

fn recorded(output: &Result<Symbol, Meta>) -> Recorded {
    match output {
        Ok(symbol) => {
            let (id, shape, dtype) = parts(symbol);
            Recorded { id: Some(id), shape, dtype }
        }
        Err(zero) => Recorded { id: None, shape: zero.shape.clone(), dtype: zero.dtype },
    }
}

/// The error of a recording that panicked.
fn panicked(panic: &(dyn Any + Send)) -> TraceError {
    // Burn's reads fail likewise where the loss reads what has no value yet.
    match device_failure(panic).filter(|cause| !cause.contains("captured tensor")) {
        Some(cause) => TraceError::Device { cause },
        None => {
            TraceError::Panic { message: text(panic).unwrap_or("it does not say why").to_owned() }
        }
    }
}
