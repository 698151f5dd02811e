//! Programs of small tensors on Flex, in memory that is reused between calls.
//!
//! A tensor of Flex costs four allocations, more than the arithmetic if it has a few hundred entries. So here the
//! results of operations are numbers in registers, buffers of the calling thread: passes of elementwise operations and
//! matrix products read and write them, reshaping and transposing only rename them. Any other operation is executed on
//! tensors created for it. Masks are numbers, 1 and 0, outside of such operations. The results have the bits of single
//! operations on tensors.

mod build;

use std::cell::Cell;
use std::mem::take;

use bilevel_flex::fused::Fused;
use bilevel_flex::slices::{self, Factor, Real};
use bilevel_flex::{FastFlex, FlexDevice, FlexTensor};
use burn::backend::ir::{HandleKind, OperationIr, TensorIr};
use burn::tensor::{DType, Shape};
use smallvec::SmallVec;

use crate::execute::Slots;
use crate::program::{Output, number};
use crate::replay::perform;

use build::Builder;

/// The largest tensor that counts as small: larger ones are worth using all threads.
pub(crate) const LARGEST: usize = 1 << 16;

/// The largest matrix product, in multiplications.
const LARGEST_PRODUCT: usize = 1 << 20;

/// A program as actions on registers.
pub(crate) struct Small {
    dtype: DType,
    /// How the tensors from outside are used: the inputs, then those that depend on no input.
    outside: Vec<Use>,
    actions: Vec<Action>,
    /// The length of each register.
    registers: Vec<usize>,
    /// The maximal number of tensors that are not numbers.
    slots: usize,
    results: Vec<OutputSource>,
}

/// How a tensor from outside is used.
#[derive(Clone, Copy, Debug)]
enum Use {
    Not,
    /// This many numbers.
    Numbers(usize),
    /// A mask, whose entries a register holds as numbers.
    Mask(usize),
    /// A tensor, in this slot.
    Tensor(usize),
}

/// Numbers: where they are, and how many.
#[derive(Clone, Copy, Debug)]
struct Span {
    place: Place,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Outside(usize),
    Register(usize),
}

/// An action.
#[allow(clippy::large_enum_variant, reason = "a few dozen, that are kept")]
enum Action {
    Pass {
        fused: Fused,
        arguments: Vec<Span>,
        results: Vec<usize>,
        len: usize,
    },
    /// Of matrices of sizes `[m, k]` and `[k, n]`, or their transposes.
    Product {
        a: (Span, bool),
        b: (Span, bool),
        out: usize,
        sizes: [usize; 3],
    },
    /// An operation on tensors, some of which are created for it, and some of which become numbers.
    Other {
        operation: OperationIr,
        made: Vec<(TensorIr, Span)>,
        kept: Vec<(TensorIr, usize)>,
    },
}

/// Where an output is read from.
enum OutputSource {
    Numbers(Span),
    Tensor(usize),
    Zero,
}

impl Small {
    /// The program in registers, if all its tensors are small and some are of f32 or f64.
    pub(crate) fn of(
        outside: &[&TensorIr],
        groups: &[Vec<&OperationIr>],
        outputs: &[Output],
    ) -> Option<Self> {
        let made = || groups.iter().flatten().flat_map(|operation| operation.outputs());
        let all = || outside.iter().copied().chain(made());
        if all().any(|tensor| tensor.shape.num_elements() > LARGEST) {
            return None;
        }
        let dtypes = || all().map(|tensor| tensor.dtype);
        let dtype = dtypes().find(|dtype| matches!(dtype, DType::F32 | DType::F64))?;
        let mut builder = Builder::new(dtype, groups, outputs);
        builder.enter(outside);
        let items = std::mem::take(&mut builder.items);
        items.into_iter().for_each(|item| builder.act(item));
        Some(builder.done(outputs))
    }

    /// The results, or none if a tensor is not dense or has another type than recorded.
    pub(crate) fn run<'a>(
        &self,
        outside: &[&FlexTensor],
        outputs: impl Iterator<Item = &'a Output>,
        device: &FlexDevice,
    ) -> Option<Vec<FlexTensor>> {
        match self.dtype {
            DType::F32 => self.run_in::<f32>(outside, outputs, device),
            _ => self.run_in::<f64>(outside, outputs, device),
        }
    }

    fn run_in<'a, T: Real>(
        &self,
        outside: &[&FlexTensor],
        outputs: impl Iterator<Item = &'a Output>,
        device: &FlexDevice,
    ) -> Option<Vec<FlexTensor>> {
        thread_local! {
            static REGISTERS: Cell<Vec<Vec<f64>>> = const { Cell::new(Vec::new()) };
        }
        let mut numbers: Few<&[T]> = Few::with_capacity(outside.len());
        for (tensor, usage) in outside.iter().zip(&self.outside) {
            numbers.push(match usage {
                Use::Numbers(len) => {
                    slices::entries::<T>(tensor).filter(|all| all.len() == *len)?
                }
                Use::Mask(_) => slices::mask_entries(tensor).map(|_| &[][..])?,
                Use::Not | Use::Tensor(_) => &[],
            });
        }
        let mut registers = REGISTERS.take();
        if registers.len() < self.registers.len() {
            registers.resize_with(self.registers.len(), Vec::new);
        }
        for (register, &len) in registers.iter_mut().zip(&self.registers) {
            let words = (len * size_of::<T>()).div_ceil(size_of::<f64>());
            if register.len() < words {
                register.resize(words, 0.0);
            }
        }
        let mut memory = Memory::<T> { outside: numbers, registers };
        let mut slots = Slots::new(self.slots);
        for (tensor, usage) in outside.iter().zip(&self.outside) {
            match usage {
                Use::Not | Use::Numbers(_) => {}
                Use::Mask(register) => memory.unmask(tensor, *register)?,
                Use::Tensor(slot) => slots.set(*slot, handle((*tensor).clone())),
            }
        }
        for action in &self.actions {
            action.run(&mut memory, &mut slots, device);
        }
        let results = self.results.iter().zip(outputs).map(|(result, output)| match result {
            OutputSource::Numbers(of) => memory.tensor(*of, output.shape.clone(), output.dtype),
            OutputSource::Tensor(slot) => flex(slots.get(*slot).expect("an output was computed")),
            OutputSource::Zero => FlexTensor::zeros(output.shape.clone(), output.dtype),
        });
        let results = results.collect();
        REGISTERS.set(memory.registers);
        Some(results)
    }
}

/// Lists that are usually short.
type Few<T> = SmallVec<[T; 16]>;

/// The numbers of one call.
struct Memory<'a, T> {
    outside: Few<&'a [T]>,
    registers: Vec<Vec<f64>>,
}

impl<T: Real> Memory<'_, T> {
    fn of(&self, numbers: Span) -> &[T] {
        let all = match numbers.place {
            Place::Outside(at) => self.outside[at],
            Place::Register(at) => slices::numbers(&self.registers[at]),
        };
        &all[..numbers.len]
    }

    /// Changes some numbers of a register, with access to the others.
    fn change(&mut self, register: usize, len: usize, change: impl FnOnce(&Self, &mut [T])) {
        let mut buffer = take(&mut self.registers[register]);
        change(self, &mut slices::numbers_mut(&mut buffer)[..len]);
        self.registers[register] = buffer;
    }

    fn tensor(&self, of: Span, shape: Shape, dtype: DType) -> FlexTensor {
        match dtype.is_bool() {
            true => slices::mask(self.of(of), shape, dtype),
            false => slices::tensor(self.of(of), shape),
        }
    }

    fn unmask(&mut self, mask: &FlexTensor, register: usize) -> Option<()> {
        let mask = slices::mask_entries(mask)?;
        self.change(register, mask.len(), |_, out| slices::unmask(out, mask));
        Some(())
    }
}

impl Action {
    fn run<T: Real>(
        &self,
        memory: &mut Memory<'_, T>,
        slots: &mut Slots<FastFlex>,
        device: &FlexDevice,
    ) {
        match self {
            Self::Pass { fused, arguments, results, len } => {
                let mut buffers: Few<Vec<f64>> =
                    results.iter().map(|result| take(&mut memory.registers[*result])).collect();
                let arguments: Few<&[T]> = arguments.iter().map(|of| memory.of(*of)).collect();
                let mut into: Few<&mut [T]> = buffers
                    .iter_mut()
                    .map(|buffer| &mut slices::numbers_mut(buffer)[..*len])
                    .collect();
                fused.run_on(&arguments, &mut into);
                drop((arguments, into));
                for (result, buffer) in results.iter().zip(buffers) {
                    memory.registers[*result] = buffer;
                }
            }
            Self::Product { a, b, out, sizes } => {
                memory.change(*out, sizes[0] * sizes[2], |memory, out| {
                    let factor = |(of, transposed): (Span, bool)| Factor {
                        entries: memory.of(of),
                        transposed,
                    };
                    slices::product(out, factor(*a), factor(*b), *sizes);
                });
            }
            Self::Other { operation, made, kept } => {
                for (tensor, numbers) in made {
                    let made = memory.tensor(*numbers, tensor.shape.clone(), tensor.dtype);
                    slots.set(number(tensor), handle(made));
                }
                perform(operation, slots, device);
                for (tensor, _) in made {
                    slots.take(number(tensor));
                }
                for (tensor, register) in kept {
                    let result = flex(slots.take(number(tensor)).expect("it was computed"));
                    let result =
                        if result.is_contiguous() { result } else { result.to_contiguous() };
                    if tensor.dtype.is_bool() {
                        memory.unmask(&result, *register).expect("a dense mask of bytes");
                    } else {
                        let numbers = slices::entries::<T>(&result).expect("dense, of this type");
                        memory.change(*register, numbers.len(), |_, out| {
                            out.copy_from_slice(numbers)
                        });
                    }
                }
            }
        }
    }
}

fn handle(tensor: FlexTensor) -> HandleKind<FastFlex> {
    match tensor.dtype() {
        dtype if dtype.is_float() => HandleKind::Float(tensor),
        dtype if dtype.is_bool() => HandleKind::Bool(tensor),
        _ => HandleKind::Int(tensor),
    }
}

fn flex(value: HandleKind<FastFlex>) -> FlexTensor {
    match value {
        HandleKind::Float(tensor) | HandleKind::Int(tensor) | HandleKind::Bool(tensor) => tensor,
        HandleKind::Quantized(_) => unreachable!("programs have no quantised tensors"),
    }
}
