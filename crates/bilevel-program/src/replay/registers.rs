//! Registers instead of tensors: where the operations of a program read and write.

use burn::backend::ir::{IrVisitorMut, OperationIr, TensorId, TensorIr, TensorStatus};

use crate::fuse::{self, Group, Masks, Pass};
use crate::program::number;

/// Registers for the tensors of a program: one is free again after the last use of its tensor.
pub(super) struct Registers {
    /// The register of each tensor.
    pub(super) of: Vec<Option<usize>>,
    /// How often each tensor will still be read.
    uses: Vec<usize>,
    free: Vec<usize>,
    /// How many there are.
    pub(super) len: usize,
}

impl Registers {
    /// For tensors that are read so often.
    pub(super) fn new(uses: Vec<usize>) -> Self {
        Self { of: vec![None; uses.len()], uses, free: Vec::new(), len: 0 }
    }

    fn give(&mut self, tensor: usize) -> usize {
        let register = self.free.pop().unwrap_or_else(|| {
            self.len += 1;
            self.len - 1
        });
        self.of[tensor] = Some(register);
        register
    }

    pub(super) fn if_used(&mut self, tensor: usize) -> Option<usize> {
        (self.uses[tensor] > 0).then(|| self.give(tensor))
    }
}

/// A part of a program that is executed at once.
pub(super) struct Segment {
    /// Products of few terms.
    pub(super) products: Vec<OperationIr>,
    pub(super) operations: Vec<OperationIr>,
    /// The operations in one pass, for backends that have it.
    pub(super) pass: Option<Box<Pass>>,
    /// The same with the products, for backends that compute these in passes.
    pub(super) pass_with_products: Option<Box<Pass>>,
}

impl Segment {
    /// Operations that follow each other, with their registers.
    pub(super) fn of(group: &Group<'_>, registers: &mut Registers) -> Self {
        let Group { products, operations } = group;
        let all: Vec<_> = products.iter().chain(operations).copied().collect();
        let mut pass_with_products =
            if products.is_empty() { None } else { unplaced(&all, registers) };
        let arguments_of_all = places(&pass_with_products, registers);
        let mut pass = if operations.len() > 1 { unplaced(operations, registers) } else { None };
        // A product of the pass is in memory only after it was computed.
        let products = assigned(products, registers);
        let arguments = places(&pass, registers);
        let operations = assigned(operations, registers);
        place(&mut pass, &arguments, registers);
        place(&mut pass_with_products, &arguments_of_all, registers);
        Self { products, operations, pass, pass_with_products }
    }
}

/// One pass, of tensors that have no registers yet.
fn unplaced(group: &[&OperationIr], registers: &Registers) -> Option<Box<Pass>> {
    let made =
        |tensor: usize| group.iter().any(|each| each.outputs().any(|out| number(out) == tensor));
    let inside = |tensor: usize| {
        let read = group.iter().flat_map(|each| each.inputs());
        read.filter(|input| number(input) == tensor).count()
    };
    let is_used = |tensor: usize| made(tensor) && registers.uses[tensor] > inside(tensor);
    fuse::pass(group, Masks::Bytes, is_used).map(Box::new)
}

/// The arguments of a pass, and where they are.
fn places(pass: &Option<Box<Pass>>, registers: &Registers) -> Vec<(usize, usize)> {
    let arguments = pass.iter().flat_map(|pass| &pass.arguments).map(number);
    arguments.map(|tensor| (tensor, registers.of[tensor].expect("it was written"))).collect()
}

/// Gives the tensors of a pass their registers, after all of its operations have theirs.
fn place(pass: &mut Option<Box<Pass>>, arguments: &[(usize, usize)], registers: &Registers) {
    let Some(pass) = pass else { return };
    for (at, (argument, (tensor, register))) in pass.arguments.iter_mut().zip(arguments).enumerate()
    {
        let again = arguments[at + 1..].iter().any(|(later, _)| later == tensor);
        let last = registers.uses[*tensor] == 0 && !again;
        argument.id = TensorId::new(*register as u64);
        argument.status = if last { TensorStatus::ReadWrite } else { TensorStatus::ReadOnly };
    }
    for result in &mut pass.results {
        let register = registers.of[number(result)].expect("it was given one");
        result.id = TensorId::new(register as u64);
    }
}

/// Operations with registers, and what is dropped after each.
fn assigned(operations: &[&OperationIr], registers: &mut Registers) -> Vec<OperationIr> {
    let mut placed = Vec::with_capacity(operations.len());
    for &operation in operations {
        let mut operation = operation.clone();
        let mut assign = Assign {
            inputs: operation.inputs().count(),
            registers,
            freed: Vec::new(),
            dropped: Vec::new(),
        };
        operation.visit_mut(&mut assign);
        let Assign { freed, dropped, .. } = assign;
        placed.push(operation);
        placed.extend(dropped.into_iter().map(OperationIr::Drop));
        registers.free.extend(freed);
    }
    placed
}

/// Assigns registers to one operation.
struct Assign<'a> {
    /// Inputs that are not yet visited; they are visited before outputs.
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
