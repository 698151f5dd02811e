//! Several elementwise operations in one kernel, on any GPU of CubeCL.
//!
//! A [`Fused`] is computed by one dispatch: each entry of its results is computed from the entries on which it depends,
//! and intermediate values take no memory. A kernel is compiled once for the same operations on tensors of the same
//! sizes.

mod kernel;

use std::sync::Arc;

use bilevel_flex::fused::{Fused, Operation, Reading};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::ir::{ElemType, FloatKind, UIntKind};
use cubecl::prelude::*;

use kernel::{Argument, Code, Instruction, Output, Plan};

/// The number of bindings that CubeCL reserves, of those that a device gives to a kernel.
const RESERVED: usize = 2;

/// A [`Fused`] as one kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Shared: it names the compiled kernel at each launch.
    plan: Arc<Plan>,
    bindings: usize,
}

impl Kernel {
    /// For arguments with these numbers of entries. None if this cannot be one kernel: if the numbers are not f32, or a
    /// constant of the operations is not finite, which shaders cannot express.
    ///
    /// # Panics
    /// If there are fewer lengths than arguments.
    pub fn new(fused: &Fused, entries: &[usize]) -> Option<Self> {
        let plan = plan(fused, entries)?;
        Some(Self { bindings: plan.arguments.len() + plan.results.len(), plan: Arc::new(plan) })
    }

    /// Whether the device of this tensor can bind this many tensors to a kernel.
    pub fn fits(&self, tensor: &CubeTensor) -> bool {
        let most = tensor.client.properties().hardware.max_bindings;
        self.bindings + RESERVED <= most as usize
    }

    /// The results, as `fused` describes them, for its arguments.
    ///
    /// # Panics
    /// If there are not as many tensors as arguments, or none.
    pub fn run(&self, fused: &Fused, tensors: Vec<CubeTensor>) -> Vec<CubeTensor> {
        let Plan { len, arguments, results, .. } = &*self.plan;
        assert_eq!(tensors.len(), arguments.len(), "as many tensors as arguments");
        let (client, device) = (tensors[0].client.clone(), tensors[0].device.clone());
        let made: Vec<_> = fused
            .results()
            .iter()
            .map(|result| {
                let (shape, dtype) = (result.shape.clone(), result.dtype);
                empty_device_contiguous_dtype(client.clone(), device.clone(), shape, dtype)
            })
            .collect();
        let (mut numbers, mut masks) = (SequenceArg::new(), SequenceArg::new());
        let mut store = ElemType::UInt(UIntKind::U32);
        for (argument, tensor) in arguments.iter().zip(tensors) {
            let tensor = into_contiguous(tensor);
            if argument.mask {
                store = mask_store(&tensor);
                masks.push(tensor.into_buffer_arg());
            } else {
                numbers.push(tensor.into_buffer_arg());
            }
        }
        let (mut number_results, mut mask_results) = (SequenceArg::new(), SequenceArg::new());
        for (result, tensor) in results.iter().zip(&made) {
            if result.mask {
                store = mask_store(tensor);
                mask_results.push(tensor.clone().into_buffer_arg());
            } else {
                number_results.push(tensor.clone().into_buffer_arg());
            }
        }
        let dimension = CubeDim::new(&client, *len);
        kernel::pass::launch(
            &client,
            calculate_cube_count_elemwise(&client, *len, dimension),
            dimension,
            numbers,
            masks,
            number_results,
            mask_results,
            self.plan.clone(),
            [ElemType::Float(FloatKind::F32), store],
        );
        made
    }
}

/// How a device holds masks.
fn mask_store(mask: &CubeTensor) -> ElemType {
    let bytes = mask.dtype.size() == 1;
    ElemType::UInt(if bytes { UIntKind::U8 } else { UIntKind::U32 })
}

/// The position of each tensor among those of its kind, numbers or masks.
fn positions() -> impl FnMut(bool) -> usize {
    let mut kinds = [0, 0];
    move |mask| {
        kinds[usize::from(mask)] += 1;
        kinds[usize::from(mask)] - 1
    }
}

fn plan(fused: &Fused, entries: &[usize]) -> Option<Plan> {
    if fused.dtype().size() != 4 {
        return None;
    }
    let len = fused.entries();
    let mut next = positions();
    let arguments: Vec<_> = fused
        .arguments()
        .iter()
        .enumerate()
        .map(|(at, reading)| {
            let mask = *reading == Reading::Mask;
            let (run, wraps) = match reading {
                Reading::Each | Reading::Mask => (1, false),
                Reading::Repeated => (1, true),
                Reading::Runs(run) => (*run, false),
                Reading::Product { .. } => return None,
            };
            Some(Argument { mask, at: next(mask), run, wraps, len: entries[at] })
        })
        .collect::<Option<_>>()?;
    let lowered: Vec<_> = fused.steps().iter().map(|step| lower(step.operation)).collect();
    let mut constants: Vec<u32> = Vec::new();
    for (_, constant) in &lowered {
        let Some(number) = constant.map(|number| number as f32) else { continue };
        if !number.is_finite() {
            return None;
        }
        if !constants.contains(&number.to_bits()) {
            constants.push(number.to_bits());
        }
    }
    let value = |of: usize| if of < arguments.len() { of } else { of + constants.len() };
    let steps = fused.steps().iter().zip(&lowered).map(|(step, (code, constant))| {
        let [a, b, c] = step.of.map(value);
        let of = match constant {
            None => [a, b, c],
            Some(number) => {
                let bits = (*number as f32).to_bits();
                let at = constants.iter().position(|constant| *constant == bits);
                let constant = arguments.len() + at.expect("it was put there");
                match step.operation {
                    Operation::Recip => [constant, a, a],
                    Operation::MaskFill(_) => [a, b, constant],
                    _ => [a, constant, a],
                }
            }
        };
        let of = if step.operation == Operation::Square { [a; 3] } else { of };
        Instruction { code: *code, of }
    });
    let steps = steps.collect();
    let mut next = positions();
    let results = fused.results().iter().map(|result| {
        let mask = result.dtype != fused.dtype();
        Output { value: value(result.value), mask, at: next(mask) }
    });
    let results = results.collect();
    Some(Plan { len, arguments, constants, steps, results })
}

/// The operation of the kernel, and the number that it takes as a constant.
fn lower(operation: Operation) -> (Code, Option<f64>) {
    use Operation as Op;
    match operation {
        Op::Add => (Code::Add, None),
        Op::Sub => (Code::Sub, None),
        Op::Mul | Op::Square => (Code::Mul, None),
        Op::Div => (Code::Div, None),
        Op::AddScalar(c) => (Code::Add, Some(c)),
        Op::SubScalar(c) => (Code::Sub, Some(c)),
        Op::MulScalar(c) => (Code::Mul, Some(c)),
        Op::DivScalar(c) => (Code::Div, Some(c)),
        Op::Recip => (Code::Div, Some(1.0)),
        Op::Neg => (Code::Neg, None),
        Op::Abs => (Code::Abs, None),
        Op::Sqrt => (Code::Sqrt, None),
        Op::Exp => (Code::Exp, None),
        Op::Log => (Code::Log, None),
        Op::Tanh => (Code::Tanh, None),
        Op::Relu => (Code::Relu, None),
        Op::ReluBackward => (Code::ReluBackward, None),
        Op::Sigmoid => (Code::Sigmoid, None),
        Op::SigmoidBackward => (Code::SigmoidBackward, None),
        Op::Equal => (Code::Equal, None),
        Op::NotEqual => (Code::NotEqual, None),
        Op::Greater => (Code::Greater, None),
        Op::GreaterEqual => (Code::GreaterEqual, None),
        Op::Lower => (Code::Lower, None),
        Op::LowerEqual => (Code::LowerEqual, None),
        Op::EqualElem(c) => (Code::Equal, Some(c)),
        Op::NotEqualElem(c) => (Code::NotEqual, Some(c)),
        Op::GreaterElem(c) => (Code::Greater, Some(c)),
        Op::GreaterEqualElem(c) => (Code::GreaterEqual, Some(c)),
        Op::LowerElem(c) => (Code::Lower, Some(c)),
        Op::LowerEqualElem(c) => (Code::LowerEqual, Some(c)),
        Op::MaskFill(c) => (Code::Select, Some(c)),
        Op::MaskWhere => (Code::Select, None),
    }
}
