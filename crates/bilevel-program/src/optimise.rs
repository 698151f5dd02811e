//! From a recording to a program: nothing is computed twice or unnecessarily.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use burn::backend::ir::{
    BaseOperationIr, IrVisitorMut, OperationIr, TensorId, TensorIr, TensorStatus,
};

use burn::tensor::TensorData;

use crate::execute::{Refused, refuse};
use crate::fuse;
use crate::precise::precise;
use crate::program::{Constant, Output, Program, Recorded, Recording, number};
use crate::simplify::simplified;
use crate::softmax::{as_backward, recognised};

/// The program of a recording: common subexpressions are computed once, operations on which no output depends are left
/// out, and tensors are numbered.
pub(crate) fn program(recording: Recording) -> Program {
    let Recording { operations, inputs, values, outputs } = recording;
    let same = equal_constants(&values);
    let recorded = outputs.iter().filter_map(|output| output.id);
    let (operations, same) = simplified(operations, &inputs, &values, recorded, same);
    let (operations, same) = without_common(operations, &inputs, same);
    let output_id = |output: &Recorded| output.id.map(|id| resolve(&same, id));
    let operations = without_dead(operations, outputs.iter().filter_map(output_id));

    let mut numbers = Renumber::default();
    let inputs: Vec<_> = inputs.into_iter().map(|input| numbers.renumbered(input)).collect();
    let mut constants = Vec::new();
    for (id, data) in values {
        let used = |tensor: &TensorIr| tensor.id == id;
        let is_output = outputs.iter().any(|output| output_id(output) == Some(id));
        if is_output || operations.iter().any(|operation| operation.inputs().any(used)) {
            constants.push(Constant { tensor: numbers.of(id), data: Arc::new(data) });
        }
    }
    let operations: Vec<_> = operations
        .into_iter()
        .map(|mut operation| {
            operation.visit_mut(&mut numbers);
            operation
        })
        .collect();
    let outputs = outputs.iter().map(|output| Output {
        tensor: output_id(output).map(|id| numbers.of(id)),
        shape: output.shape.clone(),
        dtype: output.dtype,
    });
    let outputs = outputs.collect();
    Program::new(operations, numbers.given.len(), inputs, constants, outputs)
}

/// The numbers of tensors, assigned in the order in which they occur.
#[derive(Default)]
struct Renumber {
    given: HashMap<TensorId, usize>,
}

impl Renumber {
    fn of(&mut self, id: TensorId) -> usize {
        let next = self.given.len();
        *self.given.entry(id).or_insert(next)
    }

    fn renumbered(&mut self, tensor: TensorIr) -> TensorIr {
        let id = TensorId::new(self.of(tensor.id) as u64);
        TensorIr { id, status: TensorStatus::ReadOnly, ..tensor }
    }
}

impl IrVisitorMut for Renumber {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = TensorId::new(self.of(tensor.id) as u64);
        tensor.status = TensorStatus::ReadOnly;
    }
}

fn resolve(same: &HashMap<TensorId, TensorId>, mut id: TensorId) -> TensorId {
    while let Some(other) = same.get(&id) {
        id = *other;
    }
    id
}

/// Constants with the same numbers are merged.
fn equal_constants(values: &BTreeMap<TensorId, TensorData>) -> HashMap<TensorId, TensorId> {
    let mut same = HashMap::new();
    let mut kept: Vec<(TensorId, &TensorData)> = Vec::new();
    for (id, data) in values {
        match kept.iter().find(|(_, first)| *first == data) {
            Some((first, _)) => drop(same.insert(*id, *first)),
            None => kept.push((*id, data)),
        }
    }
    same
}

/// Computes repeated operations once. The second part of the result says which tensors replace which.
fn without_common(
    operations: Vec<OperationIr>,
    inputs: &[TensorIr],
    mut same: HashMap<TensorId, TensorId>,
) -> (Vec<OperationIr>, HashMap<TensorId, TensorId>) {
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut kept: Vec<OperationIr> = Vec::with_capacity(operations.len());
    let mut keys: Vec<OperationIr> = Vec::with_capacity(operations.len());
    let is_input = |id: TensorId| inputs.iter().any(|input| input.id == id);
    for mut operation in operations {
        match &operation {
            // Made for the inputs, and by `Init` for constants.
            OperationIr::BaseFloat(BaseOperationIr::Empty(made))
            | OperationIr::BaseInt(BaseOperationIr::Empty(made))
            | OperationIr::BaseBool(BaseOperationIr::Empty(made))
                if is_input(made.out.id) =>
            {
                continue;
            }
            _ => {}
        }
        operation.visit_mut(&mut Inputs { same: &same });
        let random = matches!(refuse(&operation), Some(Refused::Random(_)));
        let key = key(&operation);
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let candidates = match seen.entry(hasher.finish()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Vec::new()),
        };
        let first = candidates.iter().copied().find(|&at| !random && keys[at] == key);
        if let Some(first) = first {
            let outputs = operation.outputs().zip(kept[first].outputs());
            same.extend(outputs.map(|(again, first)| (again.id, first.id)));
            continue;
        }
        candidates.push(kept.len());
        kept.push(operation);
        keys.push(key);
    }
    (kept, same)
}

/// An operation without the names of its results.
fn key(operation: &OperationIr) -> OperationIr {
    struct Anonymous(usize);
    impl IrVisitorMut for Anonymous {
        fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
            tensor.status = TensorStatus::ReadOnly;
            // Inputs are visited before outputs.
            if self.0 == 0 {
                tensor.id = TensorId::new(u64::MAX);
            } else {
                self.0 -= 1;
            }
        }
    }
    let mut key = operation.clone();
    let inputs = operation.inputs().count();
    key.visit_mut(&mut Anonymous(inputs));
    key
}

struct Inputs<'a> {
    same: &'a HashMap<TensorId, TensorId>,
}

impl IrVisitorMut for Inputs<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = resolve(self.same, tensor.id);
    }
}

/// Without the operations on which no output depends.
fn without_dead(
    operations: Vec<OperationIr>,
    outputs: impl Iterator<Item = TensorId>,
) -> Vec<OperationIr> {
    let mut live: HashSet<TensorId> = outputs.collect();
    let mut kept: Vec<_> = operations
        .into_iter()
        .rev()
        .filter(|operation| {
            let needed = operation.outputs().any(|out| live.contains(&out.id));
            if needed {
                live.extend(operation.inputs().map(|input| input.id));
            }
            needed
        })
        .collect();
    kept.reverse();
    kept
}

/// A program in two parts: what can be computed from the early inputs, and the rest.
pub(crate) struct Split {
    /// Of the early inputs. Its outputs: the first ones of the whole; then the tensors that the rest needs.
    pub(crate) early: Program,
    /// Of the tensors that the first part passes on, then of the late inputs. Its outputs: the other ones of the whole.
    pub(crate) late: Program,
    /// How many of the first part's outputs are outputs of the whole.
    pub(crate) known: usize,
}

impl Program {
    /// The operations that depend on no input for which `is_late` holds, and the others. The first `known` outputs must
    /// not depend on any; the others must be linear in the late inputs, so that those which do not depend on them are
    /// zero.
    pub(crate) fn split(&self, is_late: impl Fn(usize) -> bool, known: usize) -> Split {
        let depends = self.depends(&is_late);
        // Reshaping or reordering a tensor costs nothing, and is done where it is read: a matrix that is transposed
        // there is multiplied with the bits of the whole program.
        let mut placed_late: Vec<bool> = self
            .operations
            .iter()
            .map(|operation| operation.outputs().any(|out| depends[number(out)]))
            .collect();
        let mut read_late = vec![false; self.tensors];
        for (at, operation) in self.operations.iter().enumerate().rev() {
            let view = matches!(
                operation,
                OperationIr::BaseFloat(BaseOperationIr::SwapDims(_) | BaseOperationIr::Reshape(_))
            );
            placed_late[at] |= view && operation.outputs().any(|out| read_late[number(out)]);
            if placed_late[at] {
                operation.inputs().for_each(|input| read_late[number(input)] = true);
            }
        }
        // Tensors that arithmetic gives from one that is passed on are computed again where a pass reads them.
        let sources = fuse::sources(self.operations.iter());
        let passed_on = read_late.clone();
        let mut read_whole = vec![false; self.tensors];
        for (at, operation) in self.operations.iter().enumerate().rev() {
            if placed_late[at] && !fuse::is_elementwise(operation) {
                operation.inputs().for_each(|input| read_whole[number(input)] = true);
            }
            let again = operation.outputs().map(number).any(|out| {
                let source = sources.get(&out);
                read_late[out] && !read_whole[out] && source.is_some_and(|from| passed_on[*from])
            });
            if again && !placed_late[at] {
                placed_late[at] = true;
                operation.inputs().for_each(|input| read_late[number(input)] = true);
            }
        }
        let mut made_late = vec![false; self.tensors];
        for (operation, _) in self.operations.iter().zip(&placed_late).filter(|(_, late)| **late) {
            operation.outputs().for_each(|out| made_late[number(out)] = true);
        }
        let early = self.operations.iter();
        let early = early.filter(|operation| !operation.outputs().any(|out| depends[number(out)]));
        let early: Vec<_> = early.cloned().collect();
        let late = self.operations.iter().zip(&placed_late).filter(|(_, late)| **late);
        let late: Vec<_> = late.map(|(operation, _)| operation.clone()).collect();
        let own = |output: &Output| recorded(output, |tensor| tensor);
        let linear = |output: &Output| {
            let tensor = output.tensor.filter(|tensor| depends[*tensor]);
            own(&Output { tensor, ..output.clone() })
        };
        let inputs = |late: bool| {
            let all = self.inputs.iter().enumerate();
            all.filter(|(at, _)| is_late(*at) == late)
                .map(|(_, input)| input.clone())
                .collect::<Vec<_>>()
        };
        // Without tensors of the first part on which the outputs of the second part do not depend.
        let outputs: Vec<_> = self.outputs[known..].iter().map(linear).collect();
        let late = without_dead(late, outputs.iter().filter_map(|output| output.id));
        // The tensors passed on: used late, computed or given early.
        let constant =
            |tensor: usize| self.constants.iter().any(|constant| constant.tensor == tensor);
        let mut crossing: Vec<TensorIr> = Vec::new();
        for tensor in late.iter().flat_map(|operation| operation.inputs()) {
            let met = crossing.iter().any(|met| met.id == tensor.id);
            let early = !depends[number(tensor)] && !made_late[number(tensor)];
            if early && !constant(number(tensor)) && !met {
                crossing.push(tensor.clone());
            }
        }
        let passed = crossing.iter().map(|tensor| Recorded {
            id: Some(tensor.id),
            shape: tensor.shape.clone(),
            dtype: tensor.dtype,
        });
        Split {
            known,
            early: program(Recording {
                operations: early,
                inputs: inputs(false),
                values: values(self, 0),
                outputs: self.outputs[..known].iter().map(own).chain(passed).collect(),
            }),
            late: program(Recording {
                operations: late,
                inputs: crossing.iter().cloned().chain(inputs(true)).collect(),
                values: values(self, 0),
                outputs,
            }),
        }
    }
}

/// `of` with softmax as one operation, and hard sigmoids in the precision of their arguments.
pub(crate) fn with_activations(of: &Program) -> Program {
    let operations = precise(recognised(of.operations.clone()), of.tensors);
    again(of, operations, of.outputs.iter())
}

/// `of`, a second derivative, with factors of log-softmax as in the first derivative.
pub(crate) fn second_derivative(of: &Program) -> Program {
    again(of, as_backward(&of.operations, of.tensors), of.outputs.iter())
}

/// `of` without the outputs that are not at the positions `kept`.
pub(crate) fn kept(of: &Program, kept: &[usize]) -> Program {
    again(of, of.operations.clone(), kept.iter().map(|&at| &of.outputs[at]))
}

/// A program of the inputs and constants of `of`, optimised again.
fn again<'a>(
    of: &Program,
    operations: Vec<OperationIr>,
    outputs: impl Iterator<Item = &'a Output>,
) -> Program {
    program(Recording {
        operations,
        inputs: of.inputs.clone(),
        values: values(of, 0),
        outputs: outputs.map(|output| recorded(output, |tensor| tensor)).collect(),
    })
}

/// Two programs in one: `second` takes the inputs of `first`, then its own. The outputs are those of the first, then
/// those of the second. Common operations are computed once.
pub(crate) fn merged(first: &Program, second: &Program) -> Program {
    let shared = first.inputs.len();
    let offset = first.tensors;
    // The inputs that are shared are those of the first.
    let renamed = |tensor: usize| {
        let input = second.inputs[..shared].iter().position(|input| number(input) == tensor);
        input.map_or(tensor + offset, |at| number(&first.inputs[at]))
    };
    struct Rename<F>(F);
    impl<F: Fn(usize) -> usize> IrVisitorMut for Rename<F> {
        fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
            tensor.id = TensorId::new((self.0)(number(tensor)) as u64);
        }
    }
    let operations = second.operations.iter().cloned().map(|mut operation| {
        operation.visit_mut(&mut Rename(renamed));
        operation
    });
    let own = second.inputs[shared..].iter().cloned().map(|input| {
        let id = TensorId::new(renamed(number(&input)) as u64);
        TensorIr { id, ..input }
    });
    let mut all = values(first, 0);
    all.append(&mut values(second, offset));
    let outputs = first.outputs.iter().map(|output| recorded(output, |tensor| tensor));
    program(Recording {
        operations: first.operations.iter().cloned().chain(operations).collect(),
        inputs: first.inputs.iter().cloned().chain(own).collect(),
        values: all,
        outputs: outputs
            .chain(second.outputs.iter().map(|output| recorded(output, renamed)))
            .collect(),
    })
}

fn values(of: &Program, offset: usize) -> BTreeMap<TensorId, TensorData> {
    let constants = of.constants.iter();
    constants.map(|c| (TensorId::new((c.tensor + offset) as u64), (*c.data).clone())).collect()
}

fn recorded(output: &Output, renamed: impl Fn(usize) -> usize) -> Recorded {
    Recorded {
        id: output.tensor.map(|tensor| TensorId::new(renamed(tensor) as u64)),
        shape: output.shape.clone(),
        dtype: output.dtype,
    }
}
