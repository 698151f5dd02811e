//! Operations on the processor as those of the kernels.

use bilevel_flex::fused::Operation;

use crate::kernel::{Code, Kind};

/// The constants of a plan, as values behind its arguments.
pub(crate) struct Constants {
    arguments: usize,
    bits: Vec<u32>,
}

impl Constants {
    /// Those of these operations, for a plan with so many arguments; none if one cannot be stated.
    pub(crate) fn of(
        arguments: usize,
        operations: impl IntoIterator<Item = Operation>,
    ) -> Option<Self> {
        let mut constants = Self { arguments, bits: Vec::new() };
        for number in operations.into_iter().filter_map(|operation| lower(operation).1) {
            constants.add(number)?;
        }
        Some(constants)
    }

    /// The value of a constant, which is added if it is new; none if it is not finite in f32, which shaders cannot
    /// express.
    pub(crate) fn add(&mut self, number: f64) -> Option<usize> {
        let number = number as f32;
        if !self.bits.contains(&number.to_bits()) && number.is_finite() {
            self.bits.push(number.to_bits());
        }
        let at = self.bits.iter().position(|bits| *bits == number.to_bits());
        at.map(|at| self.arguments + at)
    }

    pub(crate) fn len(&self) -> usize {
        self.bits.len()
    }

    pub(crate) fn bits(self) -> Vec<u32> {
        self.bits
    }

    /// The operation and its values, its constant among them, which was added.
    pub(crate) fn placed(
        &mut self,
        operation: Operation,
        [a, b, c]: [usize; 3],
    ) -> (Code, [usize; 3]) {
        let (code, constant) = lower(operation);
        let of = match constant.map(|number| self.add(number).expect("it was added")) {
            None if operation == Operation::Square => [a; 3],
            None => [a, b, c],
            Some(constant) => match operation {
                Operation::Recip => [constant, a, a],
                Operation::MaskFill(_) => [a, b, constant],
                _ => [a, constant, a],
            },
        };
        (code, of)
    }
}

/// The position of each tensor among those of its kind.
pub(crate) fn positions() -> impl FnMut(Kind) -> usize {
    let mut kinds = [0; 3];
    move |kind| {
        let next = &mut kinds[kind as usize];
        *next += 1;
        *next - 1
    }
}

/// The operation of the kernel, and the number that it takes as a constant.
pub(crate) fn lower(operation: Operation) -> (Code, Option<f64>) {
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
