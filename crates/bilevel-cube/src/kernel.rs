//! The kernel: an interpreter that is unrolled while the kernel is compiled, so that what remains is arithmetic.

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
    pub arguments: Vec<Argument>,
    /// The bits of numbers in f32.
    pub constants: Vec<u32>,
    pub steps: Vec<Instruction>,
    pub results: Vec<Output>,
}

/// Where an argument is, and which of its entries is read at position i: `i / run`, modulo `len` if it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Argument {
    pub mask: bool,
    /// Its position among the tensors of its kind.
    pub at: usize,
    pub run: usize,
    pub wraps: bool,
    /// The number of its entries: a buffer may be longer.
    pub len: usize,
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
}

/// One entry of each result.
#[cube(launch)]
pub(crate) fn pass<F: Float, B: Int>(
    numbers: &Sequence<Box<[F]>>,
    masks: &Sequence<Box<[B]>>,
    results: &mut Sequence<Box<[F]>>,
    made: &mut Sequence<Box<[B]>>,
    #[comptime] plan: Arc<Plan>,
    #[define(F, B)] _dtypes: [ElemType; 2],
) {
    let position = ABSOLUTE_POS;
    if position < plan.len {
        let mut values = Sequence::<F>::new();
        #[unroll]
        for at in 0..plan.arguments.len() {
            let argument = comptime!(plan.arguments[at]);
            let run = if comptime!(argument.run > 1) { position / argument.run } else { position };
            if comptime!(argument.mask) {
                let tensor = masks.index(argument.at);
                values.push(F::cast_from(tensor[run]));
            } else {
                let tensor = numbers.index(argument.at);
                let entry = if comptime!(argument.wraps) { run % argument.len } else { run };
                values.push(tensor[entry]);
            }
        }
        #[unroll]
        for at in 0..plan.constants.len() {
            values.push(F::new(comptime!(f32::from_bits(plan.constants[at]))));
        }
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
                let tensor = made.index_mut(result.at);
                tensor[position] = B::cast_from(values[result.value]);
            } else {
                let tensor = results.index_mut(result.at);
                tensor[position] = values[result.value];
            }
        }
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
    }
}
