//! Replay on Flex, whose tensors are in the memory of the host.

use bilevel_flex::{FastFlex, FlexDevice, FlexTensor, has_multiply_add};
use burn::backend::ir::HandleKind;
use burn::backend::{
    BackendTensor, DispatchAutodiffContext, DispatchKindConversion, DispatchTensor,
    DispatchTensorKind, Flex, TensorMetadata,
};
use smallvec::SmallVec;

use super::{Passes, Replay};
use crate::execute::Slots;
use crate::fuse::Pass;
use crate::program::number;

impl Replay {
    /// The results on Flex, in registers of numbers if the program and the inputs allow it.
    pub(super) fn run_small(&self, inputs: &[&DispatchTensor]) -> Option<Vec<DispatchTensor>> {
        let small = self.small.as_ref()?;
        let device = FlexDevice;
        let known =
            self.known::<FastFlex, Flex>(&TensorMetadata::device(inputs[0]), &device, false);
        assert_eq!(inputs.len(), self.inputs.len(), "a program takes its inputs");
        let outside = inputs.iter().copied().chain(known.iter()).map(of_flex);
        let outside: Option<SmallVec<[&FlexTensor; 32]>> = outside.collect();
        let outputs = self.outputs.iter().map(|(_, output)| output);
        let results = small.run(&outside?, outputs, &device)?;
        Some(results.into_iter().map(wrapped).collect())
    }
}

/// Passes on Flex.
pub(super) fn passes() -> Passes<FastFlex> {
    Passes {
        run: one_pass,
        with_products: has_multiply_add(),
        keeps_zeros: false,
        #[cfg(feature = "cube")]
        run_rows: |_, _| false,
    }
}

/// A pass, if its masks have the form used on Flex; whether it was run.
fn one_pass(pass: &Pass, slots: &mut Slots<FastFlex>) -> bool {
    if !pass.has_byte_masks() {
        return false;
    }
    let arguments = pass.arguments.iter().map(|argument| match slots.read(argument) {
        Some(HandleKind::Float(tensor) | HandleKind::Bool(tensor)) => tensor,
        _ => panic!("a tensor is written before it is read"),
    });
    let results = pass.fused.run(arguments.collect());
    for (result, tensor) in pass.results.iter().zip(results) {
        let value = match result.dtype.is_bool() {
            true => HandleKind::Bool(tensor),
            false => HandleKind::Float(tensor),
        };
        slots.set(number(result), value);
    }
    true
}

/// A tensor whose entries are in memory in the order in which they are read, if it is one of Flex.
pub(super) fn dense(tensor: DispatchTensor) -> DispatchTensor {
    match of_flex(&tensor) {
        Some(view) if !view.is_contiguous() => wrapped(view.to_contiguous()),
        _ => tensor,
    }
}

/// A tensor of Flex as one of any device.
fn wrapped(tensor: FlexTensor) -> DispatchTensor {
    let tensor = match tensor.dtype() {
        dtype if dtype.is_float() => BackendTensor::Float(tensor),
        dtype if dtype.is_bool() => BackendTensor::Bool(tensor),
        _ => BackendTensor::Int(tensor),
    };
    <DispatchTensor as DispatchKindConversion<Flex>>::from_backend(tensor)
}

/// A tensor of Flex, of a device without autodiff.
fn of_flex(tensor: &DispatchTensor) -> Option<&FlexTensor> {
    match (&tensor.kind, &tensor.autodiff) {
        (
            DispatchTensorKind::Flex(
                BackendTensor::Float(value)
                | BackendTensor::Int(value)
                | BackendTensor::Bool(value),
            ),
            DispatchAutodiffContext::Disabled,
        ) => Some(value),
        _ => None,
    }
}
