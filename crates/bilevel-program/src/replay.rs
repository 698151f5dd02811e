//! Programs as they are executed.

#[cfg(feature = "cube")]
mod cube;
mod flex;
mod registers;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bilevel_flex::FastFlex;
use burn::backend::ir::{HandleKind, OperationIr, TensorId, TensorIr};
use burn::backend::{
    Backend, BackendTensor, DispatchDevice, DispatchKindConversion, DispatchTensor,
    DispatchTensorKind, Flex, TensorMetadata,
};
use burn::tensor::TensorData;

use crate::execute::{Refused, Slots, execute, refuse};
use crate::fuse::{Pass, groups, with_products};
use crate::largest::Largest;
use crate::program::{Output, Program, number};
use crate::small::Small;
use crate::stop::stops;
use flex::{dense, passes};
use registers::{Registers, Stretch, stretches};

/// A backend that computes on the tensors and devices of `D`, as `FastFlex` does on those of Flex.
trait ComputesOn<D: Backend>:
    Backend<
        Device = D::Device,
        FloatTensorPrimitive = D::FloatTensorPrimitive,
        IntTensorPrimitive = D::IntTensorPrimitive,
        BoolTensorPrimitive = D::BoolTensorPrimitive,
        QuantizedTensorPrimitive = D::QuantizedTensorPrimitive,
    >
{
}

impl<B, D> ComputesOn<D> for B
where
    D: Backend,
    B: Backend<
            Device = D::Device,
            FloatTensorPrimitive = D::FloatTensorPrimitive,
            IntTensorPrimitive = D::IntTensorPrimitive,
            BoolTensorPrimitive = D::BoolTensorPrimitive,
            QuantizedTensorPrimitive = D::QuantizedTensorPrimitive,
        >,
{
}

/// How a backend computes passes.
struct Passes<B: Backend> {
    /// Computes a pass if it can, and whether it did.
    run: fn(&Pass, &mut Slots<B>) -> bool,
    /// Whether passes may compute products of few terms.
    with_products: bool,
    /// Whether a small output that is 0 is made once, rather than at each run.
    keeps_zeros: bool,
    /// The same as `run` for a pass over rows.
    #[cfg(feature = "cube")]
    run_rows: fn(&crate::fuse::RowPass, &mut Slots<B>) -> bool,
}

/// The operations of a program with registers for tensors: a register is reused as soon as its tensor is no longer
/// needed, and the last use of a tensor may write to its memory.
pub(crate) struct Replay {
    stretches: Vec<Stretch>,
    registers: usize,
    /// The register of each input; none if it is not used.
    inputs: Vec<Option<usize>>,
    outputs: Vec<(Option<usize>, Output)>,
    /// The same for Flex, if all tensors are small.
    small: Option<Small>,
    fixed: Fixed,
    largest: Option<Largest>,
    /// The constant part, and zeros that are outputs, on the devices where the program ran.
    known: Mutex<Vec<(DispatchDevice, Arc<Vec<DispatchTensor>>)>>,
}

/// The part of a program that depends on no input, computed once per device.
struct Fixed {
    tensors: usize,
    constants: Vec<(usize, Arc<TensorData>)>,
    operations: Vec<OperationIr>,
    /// Tensors of this part that the rest uses, and their registers there.
    kept: Vec<(usize, usize)>,
}

/// Larger tensors that depend on no input are computed at each run, and dropped after their last use.
const LARGEST_KEPT: usize = 1 << 20;

impl Replay {
    pub(crate) fn of(program: &Program) -> Self {
        let fixed = fixed(program);
        let (first, rest): (Vec<_>, Vec<_>) = program
            .operations
            .iter()
            .partition(|operation| operation.outputs().any(|out| fixed[number(out)]));
        let mut uses = vec![0_usize; program.tensors];
        for operation in &rest {
            operation.inputs().for_each(|tensor| uses[number(tensor)] += 1);
        }
        for tensor in program.outputs.iter().filter_map(|output| output.tensor) {
            uses[tensor] += 1;
        }
        let mut registers = Registers::new(uses.clone());
        let inputs = program.inputs.iter().map(|input| registers.if_used(number(input))).collect();
        let kept = (0..program.tensors).filter(|tensor| fixed[*tensor]);
        let kept = kept.filter_map(|tensor| Some((tensor, registers.if_used(tensor)?))).collect();
        let constants = program.constants.iter().map(|each| (each.tensor, each.data.clone()));
        let fixed = Fixed {
            tensors: program.tensors,
            constants: constants.collect(),
            operations: first.into_iter().cloned().collect(),
            kept,
        };
        let groups: Vec<Vec<_>> = groups(&rest)
            .into_iter()
            .map(|group| group.into_iter().map(|at| rest[at]).collect())
            .collect();
        let described = described(&rest, program);
        let kept: Vec<_> = fixed.kept.iter().map(|(tensor, _)| described[tensor].clone()).collect();
        let outside: Vec<_> = program.inputs.iter().chain(&kept).collect();
        let small = Small::of(&outside, &groups, &program.outputs);
        let groups = with_products(&groups, &uses);
        let stretches = stretches(&groups, &mut registers);
        let outputs = program
            .outputs
            .iter()
            .map(|output| (output.tensor.and_then(|tensor| registers.of[tensor]), output.clone()));
        Self {
            outputs: outputs.collect(),
            stretches,
            small,
            registers: registers.len,
            inputs,
            fixed,
            largest: Largest::of(program),
            known: Mutex::default(),
        }
    }

    /// The largest tensor.
    pub(crate) fn largest(&self) -> Option<&Largest> {
        self.largest.as_ref()
    }

    /// Evaluates the program on the device of its inputs.
    ///
    /// # Panics
    /// If the inputs are not those of the program, or on a device that this build cannot compute on.
    pub(crate) fn run(&self, inputs: &[&DispatchTensor]) -> Vec<DispatchTensor> {
        let first = *inputs.first().expect("a program has inputs");
        match &first.kind {
            DispatchTensorKind::Flex(_) => self
                .run_small(inputs)
                .unwrap_or_else(|| self.run_on::<FastFlex, Flex>(inputs, Some(passes()))),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated, reason = "it is the cross-check while Burn has it")]
            DispatchTensorKind::NdArray(_) => {
                self.run_on::<burn::backend::NdArray, burn::backend::NdArray>(inputs, None)
            }
            #[cfg(feature = "cube")]
            DispatchTensorKind::Cube(_) => self
                .run_on::<burn::backend::Cube, burn::backend::Cube>(inputs, Some(cube::passes())),
            _ => panic!(
                "programs cannot be computed on {:?}: move the variables and the data to a device without autodiff, of \
                 a backend whose feature of bilevel-program is on",
                TensorMetadata::device(first)
            ),
        }
    }

    fn run_on<B, D>(
        &self,
        inputs: &[&DispatchTensor],
        passes: Option<Passes<B>>,
    ) -> Vec<DispatchTensor>
    where
        B: ComputesOn<D>,
        D: Backend,
        DispatchTensor: DispatchKindConversion<D>,
    {
        assert_eq!(inputs.len(), self.inputs.len(), "a program takes its inputs");
        let dispatch = TensorMetadata::device(inputs[0]);
        let mut device = None;
        let mut slots = Slots::<B>::new(self.registers);
        for (&input, register) in inputs.iter().zip(&self.inputs) {
            if device.is_some() && register.is_none() {
                continue;
            }
            let tensor =
                <DispatchTensor as DispatchKindConversion<D>>::try_into_backend(input.clone());
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
        let keeps_zeros = passes.as_ref().is_some_and(|passes| passes.keeps_zeros);
        let known = self.known::<B, D>(&dispatch, &device, keeps_zeros);
        for ((_, register), tensor) in self.fixed.kept.iter().zip(known.iter()) {
            let tensor =
                <DispatchTensor as DispatchKindConversion<D>>::try_into_backend(tensor.clone());
            slots.set(*register, handle::<B, D>(tensor.expect("it was made on this device")));
        }
        let mut zeros = known.iter().skip(self.fixed.kept.len());
        for stretch in &self.stretches {
            run_stretch(stretch, passes.as_ref(), &mut slots, &device);
        }
        let wrap = |value: HandleKind<B>| {
            <DispatchTensor as DispatchKindConversion<D>>::from_backend(self::tensor::<B, D>(value))
        };
        let read = |(register, output): &(Option<usize>, Output)| match register {
            Some(register) => wrap(slots.get(*register).expect("an output was computed")),
            None => {
                let kept = if is_small(output) { zeros.next() } else { None };
                kept.cloned().unwrap_or_else(|| wrap(zero::<B>(output, &device)))
            }
        };
        self.outputs.iter().map(read).collect()
    }

    /// The constant part on a device, then outputs that are 0, if these are kept.
    fn known<B, D>(
        &self,
        dispatch: &DispatchDevice,
        device: &B::Device,
        keeps_zeros: bool,
    ) -> Arc<Vec<DispatchTensor>>
    where
        B: ComputesOn<D>,
        D: Backend,
        DispatchTensor: DispatchKindConversion<D>,
    {
        let is_kept = |(register, output): &&(Option<usize>, Output)| {
            keeps_zeros && register.is_none() && is_small(output)
        };
        let zeros = || self.outputs.iter().filter(is_kept);
        if self.fixed.kept.is_empty() && zeros().next().is_none() {
            return Arc::default();
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tensors)) = known().iter().find(|(on, _)| on == dispatch) {
            return tensors.clone();
        }
        // Without the lock: a thread that waits for a kernel may start another run of this program.
        let mut slots = Slots::<B>::new(self.fixed.tensors);
        for (tensor, data) in &self.fixed.constants {
            let (data, dtype) = ((**data).clone(), data.dtype());
            let value = if dtype.is_float() {
                HandleKind::Float(B::float_from_data(data, device))
            } else if dtype.is_bool() {
                HandleKind::Bool(B::bool_from_data(data, device))
            } else {
                HandleKind::Int(B::int_from_data(data, device))
            };
            slots.set(*tensor, value);
        }
        for operation in &self.fixed.operations {
            perform(operation, &mut slots, device);
        }
        let kept = self.fixed.kept.iter().map(|(tensor, _)| {
            let value = slots.get(*tensor).expect("it was made");
            dense(<DispatchTensor as DispatchKindConversion<D>>::from_backend(
                self::tensor::<B, D>(value),
            ))
        });
        let zeros = zeros().map(|(_, output)| {
            <DispatchTensor as DispatchKindConversion<D>>::from_backend(self::tensor::<B, D>(
                zero::<B>(output, device),
            ))
        });
        let kept = Arc::new(kept.chain(zeros).collect::<Vec<_>>());
        // If several threads were first, each has the same numbers.
        known().push((dispatch.clone(), kept.clone()));
        kept
    }
}

fn run_stretch<B: Backend>(
    stretch: &Stretch,
    passes: Option<&Passes<B>>,
    slots: &mut Slots<B>,
    device: &B::Device,
) {
    #[cfg(feature = "cube")]
    if let (Some(rows), Some(passes)) = (&stretch.rows, passes)
        && (passes.run_rows)(rows, slots)
    {
        return;
    }
    for segment in &stretch.segments {
        let run = |pass: &Option<Box<Pass>>, slots: &mut Slots<B>| match (pass, passes) {
            (Some(pass), Some(passes)) => (passes.run)(pass, slots),
            _ => false,
        };
        let with_products = passes.is_some_and(|passes| passes.with_products);
        if with_products && run(&segment.pass_with_products, slots) {
            continue;
        }
        segment.products.iter().for_each(|each| perform(each, slots, device));
        if !run(&segment.pass, slots) {
            segment.operations.iter().for_each(|each| perform(each, slots, device));
        }
    }
}

fn is_small(output: &Output) -> bool {
    output.shape.num_elements() * output.dtype.size() <= LARGEST_KEPT
}

fn zero<B: Backend>(output: &Output, device: &B::Device) -> HandleKind<B> {
    HandleKind::Float(B::float_zeros(output.shape.clone(), device, output.dtype.into()))
}

/// Tensors as first read, or as outputs.
fn described(rest: &[&OperationIr], program: &Program) -> HashMap<usize, TensorIr> {
    let outputs = program.outputs.iter().filter_map(|output| {
        let tensor = output.tensor?;
        let id = TensorId::new(tensor as u64);
        Some((tensor, TensorIr::uninit(id, output.shape.clone(), output.dtype)))
    });
    let mut described: HashMap<_, _> = outputs.collect();
    let read = rest.iter().rev().flat_map(|operation| operation.inputs());
    described.extend(read.map(|input| (number(input), input.clone())));
    described
}

/// The tensors that are constants, or depend on no input and are small.
fn fixed(program: &Program) -> Vec<bool> {
    let mut fixed = vec![false; program.tensors];
    program.constants.iter().for_each(|constant| fixed[constant.tensor] = true);
    for operation in &program.operations {
        let small = |out: &TensorIr| out.shape.num_elements() * out.dtype.size() <= LARGEST_KEPT;
        if operation.inputs().all(|input| fixed[number(input)])
            && operation.outputs().all(small)
            && !matches!(refuse(operation), Some(Refused::Random(_)))
        {
            operation.outputs().for_each(|out| fixed[number(out)] = true);
        }
    }
    fixed
}

pub(crate) fn perform<B: Backend>(
    operation: &OperationIr,
    slots: &mut Slots<B>,
    device: &B::Device,
) {
    if let OperationIr::Drop(tensor) = operation {
        slots.take(number(tensor));
    } else if let Some((argument, result)) = stops(operation) {
        let value = slots.get(number(argument)).expect("a tensor is written before it is read");
        slots.set(number(result), value);
    } else {
        execute::<B>(operation, slots, device);
    }
}

fn handle<B, D>(tensor: BackendTensor<D>) -> HandleKind<B>
where
    B: ComputesOn<D>,
    D: Backend,
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
    B: ComputesOn<D>,
    D: Backend,
{
    match value {
        HandleKind::Float(tensor) => BackendTensor::Float(tensor),
        HandleKind::Int(tensor) => BackendTensor::Int(tensor),
        HandleKind::Bool(tensor) => BackendTensor::Bool(tensor),
        HandleKind::Quantized(tensor) => BackendTensor::Quantized(tensor),
    }
}

#[cfg(test)]
mod tests;
