//! Executes recorded operations on a backend.
//!
//! A recording is a list of [`OperationIr`] whose tensors are numbered densely, so a tensor's value is in a slot of a
//! vector: nothing is looked up by hash. The status of a tensor says whether an operation is the last to use it: then
//! its value leaves the slot, and the backend may overwrite it in place. An operation that reads one tensor twice takes
//! it the second time, in the order of [`OperationIr::inputs`]: every operation here reads its inputs in that order.

// One call of the backend: `op!(run o: Float = float_matmul(float lhs, float rhs))` reads the
// inputs `o.lhs` and `o.rhs` and writes `o.out`; what follows a semicolon are further arguments.
macro_rules! op {
    ($run:ident $o:ident: $kind:ident =
     $f:ident($($get:ident $input:ident),* $(; $($argument:expr),+)?)) => {{
        let value = B::$f($($run.$get(&$o.$input),)* $($($argument),+)?);
        $run.set(&$o.out, HandleKind::$kind(value))
    }};
}

mod base;
mod describe;
mod elementary;
mod module;
mod numeric;
#[cfg(test)]
mod tests;

use burn::backend::ir::{DistributedOperationIr, HandleKind, OperationIr, TensorIr, TensorStatus};
use burn::backend::tensor::{BoolTensor, Device, FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};

pub(crate) use describe::{Refused, name, refuse};

/// The tensors of a program while it runs, by their numbers.
pub(crate) struct Slots<B: Backend> {
    values: Vec<Option<HandleKind<B>>>,
}

impl<B: Backend> Slots<B> {
    /// As many empty slots as a program has tensors.
    pub(crate) fn new(len: usize) -> Self {
        Self { values: std::iter::repeat_with(|| None).take(len).collect() }
    }

    /// Puts a value into a slot.
    pub(crate) fn set(&mut self, slot: usize, value: HandleKind<B>) {
        self.values[slot] = Some(value);
    }

    /// Takes the value out of a slot.
    pub(crate) fn take(&mut self, slot: usize) -> Option<HandleKind<B>> {
        self.values[slot].take()
    }

    /// A reference to the value in a slot.
    #[cfg(feature = "cube")]
    pub(crate) fn peek(&self, slot: usize) -> Option<&HandleKind<B>> {
        self.values[slot].as_ref()
    }

    /// The value in a slot, which keeps it.
    pub(crate) fn get(&self, slot: usize) -> Option<HandleKind<B>> {
        self.values[slot].clone()
    }

    /// The value of a tensor for the operation that reads it; it leaves its slot at its last use.
    pub(crate) fn read(&mut self, tensor: &TensorIr) -> Option<HandleKind<B>> {
        let slot = &mut self.values[tensor.id.value() as usize];
        match tensor.status {
            TensorStatus::ReadWrite => slot.take(),
            TensorStatus::ReadOnly | TensorStatus::NotInit => slot.clone(),
        }
    }
}

/// Computes one operation. `device` is where tensors are created.
///
/// # Panics
///
/// Panics if a tensor that the operation reads has no value or one of another kind, and if
/// [`refuse`] refuses the operation for another reason than [`Refused::Random`].
pub(crate) fn execute<B: Backend>(
    operation: &OperationIr,
    slots: &mut Slots<B>,
    device: &Device<B>,
) {
    let run = &mut Run { operation, slots, device };
    match operation {
        OperationIr::BaseFloat(o) => base::float(o, run),
        OperationIr::BaseInt(o) => base::int(o, run),
        OperationIr::BaseBool(o) => base::bool(o, run),
        OperationIr::NumericFloat(_, o) => numeric::float(o, run),
        OperationIr::NumericInt(_, o) => numeric::int(o, run),
        OperationIr::Bool(o) => elementary::bool(o, run),
        OperationIr::Int(o) => elementary::int(o, run),
        OperationIr::Float(_, o) => elementary::float(o, run),
        OperationIr::Module(o) => module::module(o, run),
        OperationIr::Activation(o) => elementary::activation(o, run),
        OperationIr::Custom(_)
        | OperationIr::Distributed(
            DistributedOperationIr::AllReduce(_) | DistributedOperationIr::SyncCollective,
        ) => run.refused(),
        // The caller supplies initialised tensors, and the statuses say how long values live.
        OperationIr::Init(_) | OperationIr::Drop(_) => {}
    }
}

/// An operation while it is executed.
struct Run<'a, B: Backend> {
    operation: &'a OperationIr,
    slots: &'a mut Slots<B>,
    device: &'a Device<B>,
}

impl<B: Backend> Run<'_, B> {
    fn float(&mut self, tensor: &TensorIr) -> FloatTensor<B> {
        match self.slots.read(tensor) {
            Some(HandleKind::Float(value)) => value,
            other => self.missing(tensor, "float", other),
        }
    }

    fn int(&mut self, tensor: &TensorIr) -> IntTensor<B> {
        match self.slots.read(tensor) {
            Some(HandleKind::Int(value)) => value,
            other => self.missing(tensor, "int", other),
        }
    }

    fn bool(&mut self, tensor: &TensorIr) -> BoolTensor<B> {
        match self.slots.read(tensor) {
            Some(HandleKind::Bool(value)) => value,
            other => self.missing(tensor, "bool", other),
        }
    }

    fn optional(&mut self, tensor: &Option<TensorIr>) -> Option<FloatTensor<B>> {
        tensor.as_ref().map(|tensor| self.float(tensor))
    }

    fn optional_bool(&mut self, tensor: &Option<TensorIr>) -> Option<BoolTensor<B>> {
        tensor.as_ref().map(|tensor| self.bool(tensor))
    }

    fn floats(&mut self, tensors: &[TensorIr]) -> Vec<FloatTensor<B>> {
        tensors.iter().map(|tensor| self.float(tensor)).collect()
    }

    fn ints(&mut self, tensors: &[TensorIr]) -> Vec<IntTensor<B>> {
        tensors.iter().map(|tensor| self.int(tensor)).collect()
    }

    fn bools(&mut self, tensors: &[TensorIr]) -> Vec<BoolTensor<B>> {
        tensors.iter().map(|tensor| self.bool(tensor)).collect()
    }

    fn set(&mut self, tensor: &TensorIr, value: HandleKind<B>) {
        self.slots.set(tensor.id.value() as usize, value);
    }

    fn set_float(&mut self, tensor: &TensorIr, value: FloatTensor<B>) {
        self.set(tensor, HandleKind::Float(value));
    }

    fn set_int(&mut self, tensor: &TensorIr, value: IntTensor<B>) {
        self.set(tensor, HandleKind::Int(value));
    }

    fn set_bool(&mut self, tensor: &TensorIr, value: BoolTensor<B>) {
        self.set(tensor, HandleKind::Bool(value));
    }

    /// Sets positions among integers. Backends choose the type of these themselves, so that it may differ from the
    /// recorded one, which later operations expect.
    fn set_positions(&mut self, tensor: &TensorIr, value: IntTensor<B>) {
        let value = if value.dtype() == tensor.dtype {
            value
        } else {
            B::int_cast(value, tensor.dtype.into())
        };
        self.set_int(tensor, value);
    }

    #[cold]
    fn missing(&self, tensor: &TensorIr, kind: &str, found: Option<HandleKind<B>>) -> ! {
        let found = found.as_ref().map_or("no", HandleKind::name);
        panic!(
            "{} reads tensor {} as {kind}: it has {found} value",
            name(self.operation),
            tensor.id.value()
        )
    }

    #[cold]
    fn refused(&self) -> ! {
        panic!("{} cannot be executed", name(self.operation))
    }
}
