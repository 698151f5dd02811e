//! Registers instead of tensors: where the operations of a program read and write.

use std::collections::HashMap;

use burn::backend::ir::{
    ActivationOperationIr as Activation, IrVisitorMut, OperationIr, TensorId, TensorIr,
    TensorStatus,
};

use crate::fuse::{self, Group, Masks, Pass};
#[cfg(feature = "cube")]
use crate::fuse::{RowPass, along_rows, row_pass};
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

/// Segments that follow each other, in the same order on all backends.
pub(super) struct Stretch {
    pub(super) segments: Vec<Segment>,
    /// All of them as one kernel, on GPUs.
    #[cfg(feature = "cube")]
    pub(super) rows: Option<Box<RowPass>>,
}

/// The groups of a program, in stretches.
#[cfg(feature = "cube")]
pub(super) fn stretches(groups: &[Group<'_>], registers: &mut Registers) -> Vec<Stretch> {
    let stretch = |groups: Vec<&Group<'_>>| {
        let all: Vec<_> =
            groups.iter().flat_map(|group| group.operations.iter().copied()).collect();
        let pass = || row_pass(&all, used_after(&all, registers)).map(Box::new);
        let mut rows = if groups.len() > 1 { pass() } else { None };
        let before = rows.as_ref().map(|rows| places(&rows.arguments, registers));
        let segments = groups.iter().map(|group| Segment::of(group, registers)).collect();
        if let (Some(rows), Some(before)) = (&mut rows, before) {
            place(&mut rows.arguments, &mut rows.results, &before, registers);
        }
        Stretch { segments, rows }
    };
    let along_rows = along_rows(groups).into_iter();
    along_rows
        .map(|stretch| stretch.into_iter().map(|at| &groups[at]).collect())
        .map(stretch)
        .collect()
}

/// The groups of a program, in stretches.
#[cfg(not(feature = "cube"))]
pub(super) fn stretches(groups: &[Group<'_>], registers: &mut Registers) -> Vec<Stretch> {
    let stretch = |group| Stretch { segments: vec![Segment::of(group, registers)] };
    groups.iter().map(stretch).collect()
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
        let all: Vec<_> = group.all().collect();
        let mut pass_with_products =
            if products.is_empty() { None } else { unplaced(&all, registers) };
        let is_pass = operations.len() > 1 || operations.iter().any(|each| takes_several(each));
        let mut pass = if is_pass { unplaced(operations, registers) } else { None };
        let before = |pass: &Option<Box<Pass>>, registers: &Registers| {
            pass.as_ref().map(|pass| places(&pass.arguments, registers))
        };
        let before_all = before(&pass_with_products, registers);
        // A product of the pass is in memory only after it was computed.
        let products = assigned(products, registers);
        let before_pass = before(&pass, registers);
        let operations = assigned(operations, registers);
        for (pass, before) in [(&mut pass, before_pass), (&mut pass_with_products, before_all)] {
            if let (Some(pass), Some(before)) = (pass, before) {
                place(&mut pass.arguments, &mut pass.results, &before, registers);
            }
        }
        Self { products, operations, pass, pass_with_products }
    }
}

/// Whether Burn computes an elementwise operation by several.
fn takes_several(operation: &OperationIr) -> bool {
    let OperationIr::Activation(activation) = operation else { return false };
    matches!(activation, Activation::ReluBackward(_) | Activation::SigmoidBackward(_))
}

/// One pass, of tensors that have no registers yet.
fn unplaced(group: &[&OperationIr], registers: &Registers) -> Option<Box<Pass>> {
    fuse::pass(group, Masks::Bytes, used_after(group, registers)).map(Box::new)
}

/// Whether operations make a tensor that is read after them.
fn used_after(group: &[&OperationIr], registers: &Registers) -> impl Fn(usize) -> bool + use<> {
    let mut uses: HashMap<usize, usize> = HashMap::new();
    for out in group.iter().flat_map(|each| each.outputs()) {
        uses.insert(number(out), registers.uses[number(out)]);
    }
    for input in group.iter().flat_map(|each| each.inputs()) {
        if let Some(uses) = uses.get_mut(&number(input)) {
            *uses -= 1;
        }
    }
    move |tensor| uses.get(&tensor).is_some_and(|uses| *uses > 0)
}

/// Arguments, and where they are.
fn places(arguments: &[TensorIr], registers: &Registers) -> Vec<(usize, usize)> {
    let place = |tensor: usize| (tensor, registers.of[tensor].expect("it was written"));
    arguments.iter().map(number).map(place).collect()
}

/// Gives arguments and results their registers, after all operations have theirs.
fn place(
    arguments: &mut [TensorIr],
    results: &mut [TensorIr],
    before: &[(usize, usize)],
    registers: &Registers,
) {
    for (at, (argument, (tensor, register))) in arguments.iter_mut().zip(before).enumerate() {
        let again = before[at + 1..].iter().any(|(later, _)| later == tensor);
        let last = registers.uses[*tensor] == 0 && !again;
        argument.id = TensorId::new(*register as u64);
        argument.status = if last { TensorStatus::ReadWrite } else { TensorStatus::ReadOnly };
    }
    for result in results {
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
