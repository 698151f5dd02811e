//! The kernels: interpreters that are unrolled while a kernel is compiled, so that what remains is arithmetic.

use std::sync::Arc;

use burn_cubecl::cubecl;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// What the kernel of a group computes. Kernels are compiled once for each plan.
///
/// Values are numbered: arguments, then constants, then the results of the steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    /// Entries of each result.
    pub len: usize,
    /// Entries of a row, and rows of a cube, for steps on rows; otherwise 0.
    pub columns: usize,
    pub together: usize,
    pub arguments: Vec<Argument>,
    /// The bits of numbers in f32.
    pub constants: Vec<u32>,
    pub steps: Vec<Instruction>,
    pub results: Vec<Output>,
}

/// Where an argument is, and which of its entries is read at position i: `i / run`, modulo `len` if it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Argument {
    pub kind: Kind,
    /// Its position among the tensors of its kind.
    pub at: usize,
    pub run: usize,
    pub wraps: bool,
    /// The number of its entries: a buffer may be longer.
    pub len: usize,
}

impl Argument {
    /// Whether it has one entry for each entry of the results.
    pub fn is_each(&self) -> bool {
        self.run == 1 && !self.wraps
    }
}

/// An axis of tensors whose entries are in another order in memory: its size, and how far two neighbours would be apart
/// in row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Axis {
    pub size: usize,
    pub stride: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Number,
    Mask,
    /// Columns, one for each row.
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instruction {
    pub code: Code,
    /// The values that are read.
    pub of: [usize; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Output {
    pub value: usize,
    pub mask: bool,
    /// One entry for each row.
    pub per_row: bool,
    /// Its position among the tensors of its kind.
    pub at: usize,
}

/// An operation on values `a`, `b` and `c`. Masks are 1 and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    Add,
    Sub,
    Mul,
    Div,
    Neg,
    Abs,
    Sqrt,
    Exp,
    Log,
    Tanh,
    Relu,
    ReluBackward,
    Sigmoid,
    SigmoidBackward,
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Lower,
    LowerEqual,
    /// `c` where `b` is set, `a` elsewhere.
    Select,
    /// The column of an entry.
    Column,
    /// Of the row of an entry.
    Sum,
    Max,
}

/// One entry of each result.
#[cube(launch)]
pub(crate) fn pass<F: Float, B: Int>(
    numbers: &Sequence<Box<[F]>>,
    masks: &Sequence<Box<[B]>>,
    results: &mut Sequence<Box<[F]>>,
    made: &mut Sequence<Box<[B]>>,
    #[comptime] plan: Arc<Plan>,
    #[comptime] order: Arc<Vec<Axis>>,
    #[define(F, B)] _dtypes: [ElemType; 2],
) {
    let position = ABSOLUTE_POS;
    if position < plan.len {
        let row_major = row_major(position, order);
        let mut values = Sequence::<F>::new();
        #[unroll]
        for at in 0..plan.arguments.len() {
            let argument = comptime!(plan.arguments[at]);
            let is_each = comptime!(argument.is_each());
            let entry = if is_each { position } else { entry(row_major, argument) };
            if comptime!(argument.kind == Kind::Mask) {
                values.push(F::cast_from(masks.index(argument.at)[entry]));
            } else {
                values.push(numbers.index(argument.at)[entry]);
            }
        }
        constants::<F>(&mut values, plan.clone());
        #[unroll]
        for at in 0..plan.steps.len() {
            let step = comptime!(plan.steps[at]);
            let value =
                compute::<F>(values[step.of[0]], values[step.of[1]], values[step.of[2]], step.code);
            values.push(value);
        }
        #[unroll]
        for at in 0..plan.results.len() {
            let result = comptime!(plan.results[at]);
            if comptime!(result.mask) {
                made.index_mut(result.at)[position] = B::cast_from(values[result.value]);
            } else {
                results.index_mut(result.at)[position] = values[result.value];
            }
        }
    }
}

/// One entry of each result, where steps may reduce rows. The units of a row are in one cube, and exchange their entries
/// in its shared memory; each reduces its row itself, in the order of the columns.
#[cube(launch)]
pub(crate) fn rows<F: Float, B: Int, I: Int>(
    numbers: &Sequence<Box<[F]>>,
    masks: &Sequence<Box<[B]>>,
    indices: &Sequence<Box<[I]>>,
    results: &mut Sequence<Box<[F]>>,
    made: &mut Sequence<Box<[B]>>,
    #[comptime] plan: Arc<Plan>,
    #[define(F, B, I)] _dtypes: [ElemType; 3],
) {
    let unit = UNIT_POS as usize;
    let column = unit % plan.columns;
    let row = CUBE_POS * plan.together + unit / plan.columns;
    let count = comptime!(plan.len / plan.columns);
    // All units reach all barriers: those beyond the last row compute that row, and write nothing.
    let inside = row < count;
    let position = row.min(count - 1) * plan.columns + column;
    let mut shared = Shared::<[F]>::new_slice(comptime!(plan.together * plan.columns));
    let mut values = Sequence::<F>::new();
    #[unroll]
    for at in 0..plan.arguments.len() {
        let argument = comptime!(plan.arguments[at]);
        let entry = entry(position, argument);
        match argument.kind {
            Kind::Number => values.push(numbers.index(argument.at)[entry]),
            Kind::Mask => values.push(F::cast_from(masks.index(argument.at)[entry])),
            Kind::Index => values.push(F::cast_from(indices.index(argument.at)[entry])),
        }
    }
    constants::<F>(&mut values, plan.clone());
    #[unroll]
    for at in 0..plan.steps.len() {
        let step = comptime!(plan.steps[at]);
        if comptime!(step.code == Code::Column) {
            values.push(F::cast_from(column));
        } else if comptime!(step.code == Code::Sum || step.code == Code::Max) {
            sync_cube();
            shared[unit] = values[step.of[0]];
            sync_cube();
            let first = unit - column;
            let mut reduced = shared[first];
            for of in 1..plan.columns {
                let next = shared[first + of];
                if comptime!(step.code == Code::Sum) {
                    reduced += next;
                } else {
                    let replaces = next > reduced || bool::cast_from(next.is_nan());
                    reduced = select(replaces, next, reduced);
                }
            }
            values.push(reduced);
        } else {
            let value =
                compute::<F>(values[step.of[0]], values[step.of[1]], values[step.of[2]], step.code);
            values.push(value);
        }
    }
    if inside {
        #[unroll]
        for at in 0..plan.results.len() {
            let result = comptime!(plan.results[at]);
            if comptime!(result.per_row) {
                if column == 0 {
                    results.index_mut(result.at)[row] = values[result.value];
                }
            } else if comptime!(result.mask) {
                made.index_mut(result.at)[position] = B::cast_from(values[result.value]);
            } else {
                results.index_mut(result.at)[position] = values[result.value];
            }
        }
    }
}

/// The row-major position of the entry at a position in memory, whose axes are in this order; none is row-major.
#[cube]
fn row_major(position: usize, #[comptime] order: Arc<Vec<Axis>>) -> usize {
    if comptime!(order.is_empty()) {
        position
    } else {
        let mut rest = position;
        let mut found = 0;
        #[unroll]
        for at in 0..order.len() {
            let axis = comptime!(order[order.len() - 1 - at]);
            found += rest % axis.size * axis.stride;
            rest /= axis.size;
        }
        found
    }
}

/// Which entry of an argument is read at a position.
#[cube]
fn entry(position: usize, #[comptime] argument: Argument) -> usize {
    let run = if comptime!(argument.run > 1) { position / argument.run } else { position };
    if comptime!(argument.wraps) { run % argument.len } else { run }
}

#[cube]
fn constants<F: Float>(values: &mut Sequence<F>, #[comptime] plan: Arc<Plan>) {
    #[unroll]
    for at in 0..plan.constants.len() {
        values.push(F::new(comptime!(f32::from_bits(plan.constants[at]))));
    }
}

#[cube]
fn compute<F: Float>(a: F, b: F, c: F, #[comptime] code: Code) -> F {
    let (one, zero) = (F::new(1.0), F::new(0.0));
    match code {
        Code::Add => a + b,
        Code::Sub => a - b,
        Code::Mul => a * b,
        Code::Div => a / b,
        Code::Neg => -a,
        Code::Abs => a.abs(),
        Code::Sqrt => a.sqrt(),
        Code::Exp => a.exp(),
        Code::Log => a.ln(),
        Code::Tanh => a.tanh(),
        // NaN is preserved.
        Code::Relu => select(a <= zero, zero, a),
        Code::ReluBackward => select(a <= zero, zero, b),
        Code::Sigmoid => one / (one + (-a).exp()),
        Code::SigmoidBackward => b * a * (one - a),
        Code::Equal => select(a == b, one, zero),
        Code::NotEqual => select(a != b, one, zero),
        Code::Greater => select(a > b, one, zero),
        Code::GreaterEqual => select(a >= b, one, zero),
        Code::Lower => select(a < b, one, zero),
        Code::LowerEqual => select(a <= b, one, zero),
        Code::Select => select(b != zero, c, a),
        Code::Column | Code::Sum | Code::Max => a,
    }
}
