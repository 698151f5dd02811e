//! Elementwise operations that are computed together, in one pass over memory.
//!
//! Operations on tensors with the same number of entries form a group if one reads the result of another, and if
//! nothing in between depends on the group and is needed by it. What arithmetic computes from one tensor joins the
//! operation that reads it last, since that tensor is there; other operations join those that they read. The operations
//! of a group follow each other when a program is replayed; on Flex they are one [`Fused`]. There a product of matrices
//! with few terms is computed in the pass that reads it, and takes no memory.

mod products;
#[cfg(feature = "cube")]
mod rows;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use bilevel_flex::fused::{Fused, Instruction, Operation, Output, Reading};
use burn::backend::ir::{
    ActivationOperationIr as Activation, BaseOperationIr as Base, BinaryOpIr,
    FloatOperationIr as Float, NumericOperationIr as Numeric, OperationIr, ScalarIr, ScalarOpIr,
    TensorIr, UnaryOpIr,
};
use burn::tensor::{BoolStore, DType, Shape};

use crate::program::number;

use products::few_terms;
pub(crate) use products::{Group, with_products};
#[cfg(feature = "cube")]
pub(crate) use rows::{RowPass, along_rows, row_pass};

/// Operations that are repeated rather than their result kept.
const FEW: usize = 4;

/// The largest number of operations for which one pass pays off.
const LARGEST: usize = 64;

/// An operation that can be part of a group.
struct Elementwise<'a> {
    /// None reshapes its argument.
    operation: Option<Operation>,
    arguments: Vec<(&'a TensorIr, Reading)>,
    out: &'a TensorIr,
    /// How many entries, and of which type.
    size: (usize, DType),
}

impl<'a> Elementwise<'a> {
    fn of(operation: &'a OperationIr) -> Option<Self> {
        use Operation as Op;
        let number = |number: ScalarIr| number.elem::<f64>();
        let one = |o: &'a UnaryOpIr, op| (Some(op), vec![&o.input], &o.out);
        let with =
            |o: &'a ScalarOpIr, op: fn(f64) -> Op| (Some(op(number(o.rhs))), vec![&o.lhs], &o.out);
        let two = |o: &'a BinaryOpIr, op| (Some(op), vec![&o.lhs, &o.rhs], &o.out);
        let (operation, arguments, out) = match operation {
            OperationIr::NumericFloat(_, numeric) => match numeric {
                Numeric::Add(o) => two(o, Op::Add),
                Numeric::Sub(o) => two(o, Op::Sub),
                Numeric::Mul(o) => two(o, Op::Mul),
                Numeric::Div(o) => two(o, Op::Div),
                Numeric::AddScalar(o) => with(o, Op::AddScalar),
                Numeric::SubScalar(o) => with(o, Op::SubScalar),
                Numeric::MulScalar(o) => with(o, Op::MulScalar),
                Numeric::DivScalar(o) => with(o, Op::DivScalar),
                Numeric::Neg(o) => one(o, Op::Neg),
                Numeric::Abs(o) => one(o, Op::Abs),
                Numeric::PowiScalar(o) if number(o.rhs) == 2.0 => {
                    (Some(Op::Square), vec![&o.lhs], &o.out)
                }
                Numeric::Greater(o) => two(o, Op::Greater),
                Numeric::GreaterEqual(o) => two(o, Op::GreaterEqual),
                Numeric::Lower(o) => two(o, Op::Lower),
                Numeric::LowerEqual(o) => two(o, Op::LowerEqual),
                Numeric::GreaterElem(o) => with(o, Op::GreaterElem),
                Numeric::GreaterEqualElem(o) => with(o, Op::GreaterEqualElem),
                Numeric::LowerElem(o) => with(o, Op::LowerElem),
                Numeric::LowerEqualElem(o) => with(o, Op::LowerEqualElem),
                _ => return None,
            },
            OperationIr::BaseFloat(base) => match base {
                Base::Reshape(o) => (None, vec![&o.input], &o.out),
                Base::Equal(o) => two(o, Op::Equal),
                Base::NotEqual(o) => two(o, Op::NotEqual),
                Base::EqualElem(o) => with(o, Op::EqualElem),
                Base::NotEqualElem(o) => with(o, Op::NotEqualElem),
                Base::MaskFill(o) => {
                    (Some(Op::MaskFill(number(o.value))), vec![&o.tensor, &o.mask], &o.out)
                }
                Base::MaskWhere(o) => {
                    (Some(Op::MaskWhere), vec![&o.tensor, &o.mask, &o.value], &o.out)
                }
                _ => return None,
            },
            OperationIr::Float(_, float) => match float {
                Float::Exp(o) => one(o, Op::Exp),
                Float::Log(o) => one(o, Op::Log),
                Float::Tanh(o) => one(o, Op::Tanh),
                Float::Sqrt(o) => one(o, Op::Sqrt),
                Float::Recip(o) => one(o, Op::Recip),
                _ => return None,
            },
            OperationIr::Activation(activation) => match activation {
                Activation::Relu(o) => one(o, Op::Relu),
                Activation::ReluBackward(o) => two(o, Op::ReluBackward),
                Activation::Sigmoid(o) => one(o, Op::Sigmoid),
                Activation::SigmoidBackward(o) => two(o, Op::SigmoidBackward),
                _ => return None,
            },
            _ => return None,
        };
        let dtype = arguments[0].dtype;
        let float = matches!(dtype, DType::F32 | DType::F64);
        let same = arguments.iter().all(|argument| argument.dtype == dtype || is_mask(argument));
        let result = out.dtype == dtype || is_mask(out);
        let reshapes = operation.is_none();
        let read = arguments.into_iter().map(|argument| match reshapes {
            true => Some((argument, Reading::Each)),
            false => Some((argument, reading(argument, &out.shape)?)),
        });
        let arguments = read.collect::<Option<Vec<_>>>()?;
        let size = (out.shape.num_elements(), dtype);
        (float && same && result && size.0 > 0).then_some(Self { operation, arguments, out, size })
    }
}

/// Tensors that up to [`FEW`] arithmetic operations compute from one other tensor of their size and type alone, and the
/// first such tensor: in a pass, computing them again costs no more than reading them.
pub(crate) fn sources<'a>(
    operations: impl Iterator<Item = &'a OperationIr>,
) -> HashMap<usize, usize> {
    use Operation as Op;
    let mut sources: HashMap<usize, (usize, usize)> = HashMap::new();
    for operation in operations {
        let Some(part) = Elementwise::of(operation) else { continue };
        let is_arithmetic = matches!(
            part.operation,
            Some(
                Op::Add
                    | Op::Sub
                    | Op::Mul
                    | Op::AddScalar(_)
                    | Op::SubScalar(_)
                    | Op::MulScalar(_)
                    | Op::Neg
                    | Op::Abs
                    | Op::Square
                    | Op::Relu
            )
        );
        let from = part.arguments.iter().map(|(argument, reading)| {
            let argument = number(argument);
            (sources.get(&argument).copied().unwrap_or((argument, 0)), *reading)
        });
        let from: Vec<_> = from.collect();
        let ((source, _), _) = from[0];
        let operations = 1 + from.iter().map(|((_, operations), _)| operations).sum::<usize>();
        let is_one = from.iter().all(|((of, _), how)| *of == source && *how == Reading::Each);
        if is_arithmetic && is_one && operations <= FEW {
            sources.insert(number(part.out), (source, operations));
        }
    }
    sources.into_iter().map(|(tensor, (source, _))| (tensor, source)).collect()
}

/// Whether an operation computes in passes; reshaping alone does not.
pub(crate) fn is_elementwise(operation: &OperationIr) -> bool {
    Elementwise::of(operation).is_some_and(|part| part.operation.is_some())
}

pub(crate) fn is_mask(tensor: &TensorIr) -> bool {
    matches!(tensor.dtype, DType::Bool(_))
}

/// How an argument is read for a result of this shape.
fn reading(argument: &TensorIr, result: &Shape) -> Option<Reading> {
    if argument.shape == *result {
        return Some(if is_mask(argument) { Reading::Mask } else { Reading::Each });
    }
    if is_mask(argument) {
        return None;
    }
    if argument.shape.num_elements() == 1 {
        return Some(Reading::Repeated);
    }
    let (from, to) = (argument.shape.as_slice(), result.as_slice());
    if from.len() != to.len() {
        return None;
    }
    let ones = from.iter().take_while(|&&size| size == 1).count();
    if from[ones..] == to[ones..] {
        return Some(Reading::Repeated);
    }
    let cut = from.len() - from.iter().rev().take_while(|&&size| size == 1).count();
    (from[..cut] == to[..cut]).then(|| Reading::Runs(to[cut..].iter().product()))
}

/// The operations in groups, by their positions, in an order in which they can be computed.
pub(crate) fn groups(operations: &[&OperationIr]) -> Vec<Vec<usize>> {
    let mut made = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        made.extend(operation.outputs().map(|out| (number(out), at)));
    }
    let reads = |operation: &OperationIr| -> Vec<usize> {
        operation.inputs().filter_map(|input| made.get(&number(input)).copied()).collect()
    };
    let elementwise: Vec<_> =
        operations.iter().map(|operation| Elementwise::of(operation)).collect();
    let before = operations.iter().map(|operation| reads(operation));
    let mut grouping = Grouping::new(before.collect());
    let computes = |at: &usize| {
        elementwise[*at].as_ref().is_some_and(|elementwise| elementwise.operation.is_some())
    };
    let join_arguments = |grouping: &mut Grouping, at: usize, may_join: &dyn Fn(usize) -> bool| {
        let Some(part) = &elementwise[at] else { return };
        for (argument, reading) in &part.arguments {
            let Some(&from) = made.get(&number(argument)) else { continue };
            let other = &grouping.members[grouping.group[from]];
            let joins = matches!(reading, Reading::Each | Reading::Mask)
                && elementwise[from].as_ref().is_some_and(|from| from.size == part.size)
                && other.iter().any(computes)
                && may_join(number(argument));
            if joins {
                grouping.join(from, at);
            }
        }
    };
    // What is computed from one tensor is computed where it is read last: it need not be kept until then.
    let sources = sources(operations.iter().copied());
    for at in (0..operations.len()).rev() {
        join_arguments(&mut grouping, at, &|argument| sources.contains_key(&argument));
    }
    (0..operations.len()).for_each(|at| join_arguments(&mut grouping, at, &|_| true));
    grouping.ordered()
}

/// Groups of operations; each is named by one of its members.
struct Grouping {
    /// What each operation reads, by the operations that make it.
    before: Vec<Vec<usize>>,
    group: Vec<usize>,
    members: Vec<Vec<usize>>,
    seen: Vec<usize>,
    searches: usize,
}

impl Grouping {
    /// Each operation alone.
    fn new(before: Vec<Vec<usize>>) -> Self {
        let len = before.len();
        Self {
            before,
            group: (0..len).collect(),
            members: (0..len).map(|at| vec![at]).collect(),
            seen: vec![0; len],
            searches: 0,
        }
    }

    /// Merges the groups of two operations, unless an operation between them needs one and is needed by the other;
    /// whether they were merged.
    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.group[a], self.group[b]);
        if a == b || self.members[a].len() + self.members[b].len() > LARGEST {
            return false;
        }
        self.searches += 1;
        let inside = |group: usize| group == a || group == b;
        let mut open: Vec<usize> = vec![a, b];
        while let Some(at) = open.pop() {
            for member in &self.members[at] {
                for &before in &self.before[*member] {
                    let group = self.group[before];
                    if inside(group) {
                        if !inside(at) {
                            return false;
                        }
                    } else if self.seen[group] != self.searches {
                        self.seen[group] = self.searches;
                        open.push(group);
                    }
                }
            }
        }
        let moved = std::mem::take(&mut self.members[a]);
        moved.iter().for_each(|member| self.group[*member] = b);
        self.members[b].extend(moved);
        self.members[b].sort_unstable();
        true
    }

    /// The groups, each after those that it reads, and otherwise in the order of their last operations.
    fn ordered(self) -> Vec<Vec<usize>> {
        let Self { before, group, members, .. } = self;
        let mut needs = vec![0_usize; group.len()];
        let mut after = vec![Vec::new(); group.len()];
        for (at, before) in before.iter().enumerate() {
            for from in before {
                if group[*from] != group[at] {
                    needs[group[at]] += 1;
                    after[group[*from]].push(group[at]);
                }
            }
        }
        let last = |group: usize| *members[group].last().expect("a group has members");
        let mut ready: BinaryHeap<_> = (0..group.len())
            .filter(|at| group[*at] == *at && needs[*at] == 0)
            .map(|at| Reverse((last(at), at)))
            .collect();
        let mut ordered = Vec::new();
        while let Some(Reverse((_, at))) = ready.pop() {
            for next in &after[at] {
                needs[*next] -= 1;
                if needs[*next] == 0 {
                    ready.push(Reverse((last(*next), *next)));
                }
            }
            ordered.push(members[at].clone());
        }
        ordered
    }
}

/// A group as one pass.
pub(crate) struct Pass {
    pub(crate) fused: Fused,
    /// The tensors of its arguments; both factors of a product.
    pub(crate) arguments: Vec<TensorIr>,
    /// The tensors of its results.
    pub(crate) results: Vec<TensorIr>,
    /// The same on GPUs, once it was requested; none if it cannot be one kernel.
    #[cfg(feature = "cube")]
    pub(crate) kernel: std::sync::OnceLock<Option<bilevel_cube::Kernel>>,
}

impl Pass {
    /// Whether masks in memory have one byte per entry.
    pub(crate) fn has_byte_masks(&self) -> bool {
        let mut tensors = self.arguments.iter().chain(&self.results);
        tensors.all(|tensor| tensor.dtype != DType::Bool(BoolStore::U32))
    }
}

/// How masks are held in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Masks {
    /// As tensors of Burn: one byte per entry.
    Bytes,
    /// As 1 and 0, in the type of the other tensors.
    Numbers,
}

/// One pass for a group of elementwise operations, and for the products of few terms before them. `is_used` says which
/// tensors are read after it.
pub(crate) fn pass(
    group: &[&OperationIr],
    masks: Masks,
    is_used: impl Fn(usize) -> bool,
) -> Option<Pass> {
    let products: Vec<_> = group.iter().map_while(|operation| few_terms(operation)).collect();
    let product = |tensor: &TensorIr| products.iter().find(|product| product.out.id == tensor.id);
    let parts = group[products.len()..].iter().map(|operation| Elementwise::of(operation));
    let parts = parts.collect::<Option<Vec<_>>>()?;
    if parts.iter().all(|part| part.operation.is_none()) {
        return None;
    }
    let is_inside = |tensor: &TensorIr| parts.iter().any(|part| part.out.id == tensor.id);
    let mut read: Vec<(&TensorIr, Reading)> = Vec::new();
    for (argument, reading) in parts.iter().flat_map(|part| &part.arguments) {
        let met = read.iter().any(|(met, how)| met.id == argument.id && how == reading);
        if !is_inside(argument) && !met {
            read.push((argument, *reading));
        }
    }
    let mut values: HashMap<usize, usize> = HashMap::new();
    let (mut steps, mut results, mut tensors) = (Vec::new(), Vec::new(), Vec::new());
    for part in &parts {
        let value = |(argument, reading): &(&TensorIr, Reading)| {
            values.get(&number(argument)).copied().unwrap_or_else(|| {
                let same =
                    |(met, how): &(&TensorIr, Reading)| met.id == argument.id && how == reading;
                read.iter().position(same).expect("what is not made here is read")
            })
        };
        let of: Vec<_> = part.arguments.iter().map(value).collect();
        let value = match part.operation {
            None => of[0],
            Some(operation) => {
                let at = |place: usize| of.get(place).copied().unwrap_or(of[0]);
                steps.push(Instruction { operation, of: [at(0), at(1), at(2)] });
                read.len() + steps.len() - 1
            }
        };
        values.insert(number(part.out), value);
        if is_used(number(part.out)) {
            let dtype = if masks == Masks::Numbers { part.size.1 } else { part.out.dtype };
            let shape = part.out.shape.clone();
            results.push(Output { value, shape, dtype });
            tensors.push(part.out.clone());
        }
    }
    let (len, dtype) = parts[0].size;
    let (mut arguments, mut readings) = (Vec::new(), Vec::new());
    for (tensor, reading) in read {
        readings.push(match (product(tensor), reading, masks) {
            (Some(product), Reading::Each, _) => {
                let &[terms, columns] = product.rhs.shape.as_slice() else { return None };
                Reading::Product { terms, columns }
            }
            (Some(_), ..) => return None,
            (None, Reading::Mask, Masks::Numbers) => Reading::Each,
            (None, reading, _) => reading,
        });
        match product(tensor) {
            Some(product) => arguments.extend([product.lhs.clone(), product.rhs.clone()]),
            None => arguments.push(tensor.clone()),
        }
    }
    Some(Pass {
        fused: Fused::new(len, dtype, readings, steps, results),
        arguments,
        results: tensors,
        #[cfg(feature = "cube")]
        kernel: Default::default(),
    })
}
