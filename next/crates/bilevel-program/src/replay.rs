//! Programs as they are executed.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::ir::{HandleKind, IrVisitorMut, OperationIr, TensorId, TensorIr, TensorStatus};
use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::{
    Backend, BackendTensor, Dispatch, DispatchDevice, DispatchKindConversion, DispatchTensor,
    DispatchTensorKind, Flex, TensorMetadata,
};
use burn::tensor::TensorData;

use bilevel_flex::FastFlex;

use crate::execute::{Slots, execute};
use crate::program::{Output, Program, number};
use crate::stop::stops;

/// The operations of a program with registers for tensors: one is used again as soon as its tensor is not needed any
/// more, and the last use of a tensor may write to its memory.
pub(crate) struct Replay {
    operations: Vec<OperationIr>,
    registers: usize,
    /// The register of each input; none is not used.
    inputs: Vec<Option<usize>>,
    constants: Vec<(usize, Arc<TensorData>)>,
    outputs: Vec<(Option<usize>, Output)>,
    /// The constants on the devices where the program ran.
    uploaded: Mutex<Vec<(DispatchDevice, Arc<Vec<DispatchTensor>>)>>,
}

impl Replay {
    pub(crate) fn of(program: &Program) -> Self {
        let mut uses = vec![0_usize; program.tensors];
        for operation in &program.operations {
            operation.inputs().for_each(|tensor| uses[number(tensor)] += 1);
        }
        for tensor in program.outputs.iter().filter_map(|output| output.tensor) {
            uses[tensor] += 1;
        }
        let mut registers =
            Registers { of: vec![None; program.tensors], uses, free: Vec::new(), len: 0 };
        let inputs = program.inputs.iter().map(|input| registers.if_used(number(input))).collect();
        let constants = program.constants.iter();
        let constants = constants
            .filter_map(|each| Some((registers.if_used(each.tensor)?, each.data.clone())))
            .collect();
        let mut operations = Vec::with_capacity(program.operations.len());
        for operation in &program.operations {
            let mut operation = operation.clone();
            let mut assign = Assign {
                inputs: operation.inputs().count(),
                registers: &mut registers,
                freed: Vec::new(),
                dropped: Vec::new(),
            };
            operation.visit_mut(&mut assign);
            let Assign { freed, dropped, .. } = assign;
            operations.push(operation);
            operations.extend(dropped.into_iter().map(OperationIr::Drop));
            registers.free.extend(freed);
        }
        let outputs = program
            .outputs
            .iter()
            .map(|output| (output.tensor.and_then(|tensor| registers.of[tensor]), output.clone()));
        Self {
            outputs: outputs.collect(),
            operations,
            registers: registers.len,
            inputs,
            constants,
            uploaded: Mutex::default(),
        }
    }

    /// Evaluates the program on the device of its inputs.
    ///
    /// # Panics
    /// If the inputs are not those of the program, or on a device that this build cannot compute on.
    pub(crate) fn run(&self, inputs: Vec<DispatchTensor>) -> Vec<DispatchTensor> {
        let first = inputs.first().expect("a program has inputs");
        match &first.kind {
            DispatchTensorKind::Flex(_) => self.run_on::<FastFlex, Flex>(inputs),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated, reason = "it is the cross-check while Burn has it")]
            DispatchTensorKind::NdArray(_) => {
                self.run_on::<burn::backend::NdArray, burn::backend::NdArray>(inputs)
            }
            #[cfg(feature = "wgpu")]
            DispatchTensorKind::Cube(_) => {
                self.run_on::<burn::backend::Cube, burn::backend::Cube>(inputs)
            }
            _ => panic!(
                "programs cannot be computed on {:?}: move the variables and the data to a device without autodiff, of \
                 a backend whose feature of bilevel-program is on",
                TensorMetadata::device(first)
            ),
        }
    }

    fn run_on<B, D>(&self, inputs: Vec<DispatchTensor>) -> Vec<DispatchTensor>
    where
        B: Backend,
        D: Backend<
                Device = B::Device,
                FloatTensorPrimitive = B::FloatTensorPrimitive,
                IntTensorPrimitive = B::IntTensorPrimitive,
                BoolTensorPrimitive = B::BoolTensorPrimitive,
                QuantizedTensorPrimitive = B::QuantizedTensorPrimitive,
            >,
        DispatchTensor: DispatchKindConversion<D>,
    {
        assert_eq!(inputs.len(), self.inputs.len(), "a program takes its inputs");
        let dispatch = TensorMetadata::device(&inputs[0]);
        let mut device = None;
        let mut slots = Slots::<B>::new(self.registers);
        for (input, register) in inputs.into_iter().zip(&self.inputs) {
            if device.is_some() && register.is_none() {
                continue;
            }
            let tensor = <DispatchTensor as DispatchKindConversion<D>>::try_into_backend(input);
            let tensor = tensor.unwrap_or_else(|error| {
                panic!(
                    "the variables and the data are on several devices ({error}): move them to one"
                )
            });
            device.get_or_insert_with(|| TensorMetadata::device(&tensor));
            if let Some(register) = register {
                slots.set(*register, handle::<B, D>(tensor));
            }
        }
        let device = device.expect("a program has inputs");
        if !self.constants.is_empty() {
            let uploaded = self.uploaded(&dispatch);
            for ((register, _), tensor) in self.constants.iter().zip(uploaded.iter()) {
                let tensor =
                    <DispatchTensor as DispatchKindConversion<D>>::try_into_backend(tensor.clone());
                slots.set(
                    *register,
                    handle::<B, D>(tensor.expect("constants were uploaded to this device")),
                );
            }
        }
        for operation in &self.operations {
            if let OperationIr::Drop(tensor) = operation {
                slots.take(number(tensor));
            } else if let Some((argument, result)) = stops(operation) {
                let value =
                    slots.get(number(argument)).expect("a tensor is written before it is read");
                slots.set(number(result), value);
            } else {
                execute::<B>(operation, &mut slots, &device);
            }
        }
        let wrap = |value: HandleKind<B>| {
            <DispatchTensor as DispatchKindConversion<D>>::from_backend(tensor::<B, D>(value))
        };
        let read = |(register, output): &(Option<usize>, Output)| match register {
            Some(register) => wrap(slots.get(*register).expect("an output was computed")),
            None => wrap(HandleKind::Float(B::float_zeros(
                output.shape.clone(),
                &device,
                output.dtype.into(),
            ))),
        };
        self.outputs.iter().map(read).collect()
    }

    fn uploaded(&self, device: &DispatchDevice) -> Arc<Vec<DispatchTensor>> {
        let mut uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tensors)) = uploaded.iter().find(|(on, _)| on == device) {
            return tensors.clone();
        }
        let upload = |data: &TensorData| {
            let data = data.clone();
            if data.dtype().is_float() {
                Dispatch::float_from_data(data, device)
            } else if data.dtype().is_bool() {
                Dispatch::bool_from_data(data, device)
            } else {
                Dispatch::int_from_data(data, device)
            }
        };
        let tensors =
            Arc::new(self.constants.iter().map(|(_, data)| upload(data)).collect::<Vec<_>>());
        uploaded.push((device.clone(), tensors.clone()));
        tensors
    }
}

fn handle<B, D>(tensor: BackendTensor<D>) -> HandleKind<B>
where
    B: Backend,
    D: Backend<
            FloatTensorPrimitive = B::FloatTensorPrimitive,
            IntTensorPrimitive = B::IntTensorPrimitive,
            BoolTensorPrimitive = B::BoolTensorPrimitive,
            QuantizedTensorPrimitive = B::QuantizedTensorPrimitive,
        >,
{
    match tensor {
        BackendTensor::Float(tensor) => HandleKind::Float(tensor),
        BackendTensor::Int(tensor) => HandleKind::Int(tensor),
        BackendTensor::Bool(tensor) => HandleKind::Bool(tensor),
        BackendTensor::Quantized(tensor) => HandleKind::Quantized(tensor),
        BackendTensor::Autodiff(_) => panic!("programs are evaluated on devices without autodiff"),
    }
}

fn tensor<B, D>(value: HandleKind<B>) -> BackendTensor<D>
where
    B: Backend,
    D: Backend<
            FloatTensorPrimitive = B::FloatTensorPrimitive,
            IntTensorPrimitive = B::IntTensorPrimitive,
            BoolTensorPrimitive = B::BoolTensorPrimitive,
            QuantizedTensorPrimitive = B::QuantizedTensorPrimitive,
        >,
{
    match value {
        HandleKind::Float(tensor) => BackendTensor::Float(tensor),
        HandleKind::Int(tensor) => BackendTensor::Int(tensor),
        HandleKind::Bool(tensor) => BackendTensor::Bool(tensor),
        HandleKind::Quantized(tensor) => BackendTensor::Quantized(tensor),
    }
}

struct Registers {
    of: Vec<Option<usize>>,
    /// How often each tensor is still needed.
    uses: Vec<usize>,
    free: Vec<usize>,
    len: usize,
}

impl Registers {
    fn give(&mut self, tensor: usize) -> usize {
        let register = self.free.pop().unwrap_or_else(|| {
            self.len += 1;
            self.len - 1
        });
        self.of[tensor] = Some(register);
        register
    }

    fn if_used(&mut self, tensor: usize) -> Option<usize> {
        (self.uses[tensor] > 0).then(|| self.give(tensor))
    }
}

/// Gives one operation its registers.
struct Assign<'a> {
    /// Inputs that are still to come; they are visited before outputs.
    inputs: usize,
    registers: &'a mut Registers,
    /// Registers that are free after the operation.
    freed: Vec<usize>,
    /// What must be dropped after the operation.
    dropped: Vec<TensorIr>,
}

impl IrVisitorMut for Assign<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        let at = number(tensor);
        if self.inputs > 0 {
            self.inputs -= 1;
            let register = self.registers.of[at].expect("a tensor is written before it is read");
            self.registers.uses[at] -= 1;
            tensor.id = TensorId::new(register as u64);
            tensor.status = TensorStatus::ReadOnly;
            if self.registers.uses[at] == 0 {
                // An operation that takes a tensor twice reads it in this order.
                self.freed.push(register);
                tensor.status = TensorStatus::ReadWrite;
            }
            return;
        }
        let register = self.registers.give(at);
        tensor.id = TensorId::new(register as u64);
        tensor.status = TensorStatus::NotInit;
        if self.registers.uses[at] == 0 {
            self.freed.push(register);
            self.dropped.push(tensor.clone());
        }
    }
}
