//! Algebra on the operations of a program: the same numbers from fewer operations.
//!
//! Signs move towards the outputs, `sum(-a)` becoming `-sum(a)`, until they meet another sign or a sum that becomes a
//! difference. Tensors whose entries are all the same number are tracked, so that products with ones disappear, and a
//! tensor that was repeated only to match the shape of another is broadcast by the operation that reads it. Each rule
//! is exact in floating point, except for the sign of zeros, and for quotients by a number, which become products.

mod arithmetic;
mod single;

use std::collections::{BTreeMap, HashMap};

use burn::backend::ir::{
    ActivationOperationIr as Activation, BaseOperationIr as Base, BinaryOpIr,
    FloatOperationIr as Float, FullOpIr, IrVisitorMut, MatmulOpIr, NumericOperationIr as Numeric,
    OperationIr, ScalarIr, ShapeOpIr, TensorId, TensorIr, TensorStatus, UnaryOpIr,
};
use burn::backend::tensor::IndexingUpdateOp;
use burn::tensor::{DType, TensorData};

use single::{canonical, changes_nothing};

/// The simplified operations, and which tensors replace which.
pub(crate) fn simplified(
    operations: Vec<OperationIr>,
    inputs: &[TensorIr],
    values: &BTreeMap<TensorId, TensorData>,
    outputs: impl Iterator<Item = TensorId>,
    same: HashMap<TensorId, TensorId>,
) -> (Vec<OperationIr>, HashMap<TensorId, TensorId>) {
    let made = operations.iter().flat_map(|operation| operation.outputs()).chain(inputs);
    let ids = made.map(|tensor| tensor.id.value()).chain(values.keys().map(TensorId::value));
    let mut simplify = Simplify {
        kept: Vec::with_capacity(operations.len()),
        next: ids.max().map_or(0, |largest| largest + 1),
        same,
        uniform: values.iter().filter_map(|(id, data)| Some((*id, constant(data)?))).collect(),
        negative: HashMap::new(),
        repeated: HashMap::new(),
        reshaped: HashMap::new(),
        relu: HashMap::new(),
        waiting: HashMap::new(),
    };
    operations.into_iter().for_each(|operation| simplify.read(operation));
    for output in outputs {
        simplify.need(simplify.resolve(output));
    }
    (simplify.kept, simplify.same)
}

/// The common value of all entries of a small constant.
fn constant(data: &TensorData) -> Option<f64> {
    const LARGEST: usize = 1 << 12;
    if data.num_elements() > LARGEST {
        return None;
    }
    match data.dtype() {
        DType::F32 => one_number(data.as_slice::<f32>().ok()?.iter().map(|&n| f64::from(n))),
        DType::F64 => one_number(data.as_slice::<f64>().ok()?.iter().copied()),
        _ => None,
    }
}

fn one_number(mut numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let first = numbers.next()?;
    numbers.all(|number| number.to_bits() == first.to_bits()).then_some(first)
}

/// A number as represented in this type.
fn rounded(dtype: DType, number: f64) -> Option<f64> {
    match dtype {
        DType::F32 => Some(f64::from(number as f32)),
        DType::F64 => Some(number),
        _ => None,
    }
}

fn scalar(number: ScalarIr) -> f64 {
    number.elem()
}

/// What is known of the tensors so far.
struct Simplify {
    kept: Vec<OperationIr>,
    next: u64,
    same: HashMap<TensorId, TensorId>,
    /// Tensors all of whose entries are this number.
    uniform: HashMap<TensorId, f64>,
    /// Tensors that are another one with the opposite sign.
    negative: HashMap<TensorId, TensorIr>,
    /// Tensors that are another one, repeated along axes of length 1.
    repeated: HashMap<TensorId, TensorIr>,
    /// Tensors that are another one, reshaped.
    reshaped: HashMap<TensorId, TensorIr>,
    /// Tensors whose positive part was computed.
    relu: HashMap<TensorId, TensorIr>,
    /// The operation that computes these tensors, once another operation reads them.
    waiting: HashMap<TensorId, OperationIr>,
}

impl Simplify {
    fn resolve(&self, mut id: TensorId) -> TensorId {
        while let Some(other) = self.same.get(&id) {
            id = *other;
        }
        id
    }

    /// Keeps an operation, after those that compute its arguments.
    fn keep(&mut self, operation: OperationIr) {
        let arguments: Vec<_> = operation.inputs().map(|tensor| tensor.id).collect();
        arguments.into_iter().for_each(|id| self.need(id));
        self.kept.push(operation);
    }

    fn need(&mut self, id: TensorId) {
        if let Some(operation) = self.waiting.remove(&id) {
            self.keep(operation);
        }
    }

    fn is(&mut self, out: &TensorIr, input: &TensorIr) {
        self.same.insert(out.id, input.id);
    }

    /// `out = -of`.
    fn is_negative(&mut self, out: TensorIr, of: TensorIr) {
        self.negative.insert(out.id, of.clone());
        let negate = Numeric::Neg(UnaryOpIr { input: of, out: out.clone() });
        self.waiting.insert(out.id, OperationIr::NumericFloat(out.dtype, negate));
    }

    /// `out` is `of`, repeated.
    fn is_repeated(&mut self, out: TensorIr, of: TensorIr) {
        self.repeated.insert(out.id, of.clone());
        let expand = Base::Expand(ShapeOpIr { input: of, out: out.clone() });
        self.waiting.insert(out.id, OperationIr::BaseFloat(expand));
    }

    /// Keeps an operation, or one whose result is `out` with the opposite sign.
    fn keep_signed(
        &mut self,
        negative: bool,
        out: TensorIr,
        operation: impl FnOnce(TensorIr) -> OperationIr,
    ) {
        if !negative {
            return self.keep(operation(out));
        }
        let of = TensorIr { id: TensorId::new(self.next), ..out.clone() };
        self.next += 1;
        self.keep(operation(of.clone()));
        self.is_negative(out, of);
    }

    /// A tensor without its sign, and whether it had one.
    fn unsigned(&self, tensor: &TensorIr) -> (TensorIr, bool) {
        match self.negative.get(&tensor.id) {
            Some(of) => (read_only(of), true),
            None => (tensor.clone(), false),
        }
    }

    /// One of two arguments before it was repeated, if the other has the shape of the result.
    fn broadcast(&self, a: TensorIr, b: TensorIr) -> (TensorIr, TensorIr) {
        match (self.repeated.get(&a.id), self.repeated.get(&b.id)) {
            (Some(small), _) if a.shape == b.shape => (read_only(small), b),
            (None, Some(small)) if a.shape == b.shape => (a, read_only(small)),
            _ => (a, b),
        }
    }

    fn uniform(&self, tensor: &TensorIr) -> Option<f64> {
        self.uniform.get(&tensor.id).copied()
    }

    /// An operation whose result is one number everywhere becomes that number.
    fn is_uniform(&mut self, out: TensorIr, number: f64) {
        self.uniform.insert(out.id, number);
        let dtype = out.dtype;
        let full = Numeric::Full(FullOpIr { out, value: ScalarIr::Float(number) });
        self.kept.push(OperationIr::NumericFloat(dtype, full));
    }

    fn read(&mut self, mut operation: OperationIr) {
        struct Resolve<'a>(&'a Simplify);
        impl IrVisitorMut for Resolve<'_> {
            fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
                tensor.id = self.0.resolve(tensor.id);
            }
        }
        if let OperationIr::Init(_) | OperationIr::Drop(_) = operation {
            return;
        }
        operation.visit_mut(&mut Resolve(self));
        let operation = canonical(operation);
        if let Some((out, input)) = changes_nothing(&operation) {
            let (out, input) = (out.clone(), input.clone());
            return self.is(&out, &input);
        }
        match operation {
            OperationIr::NumericFloat(_, Numeric::Neg(d)) => match self.unsigned(&d.input) {
                (of, true) => self.is(&d.out, &of),
                (of, false) => self.is_negative(d.out, of),
            },
            OperationIr::NumericFloat(_, Numeric::Mul(d)) => self.product(d),
            OperationIr::NumericFloat(_, Numeric::MulScalar(d)) => self.multiple(d),
            OperationIr::NumericFloat(_, Numeric::Add(d)) => self.sum(d, false),
            OperationIr::NumericFloat(_, Numeric::Sub(d)) => self.sum(d, true),
            OperationIr::NumericFloat(_, Numeric::Div(d)) => self.quotient(d),
            OperationIr::Float(dtype, Float::Matmul(d)) => {
                let ((lhs, a), (rhs, b)) = (self.unsigned(&d.lhs), self.unsigned(&d.rhs));
                self.keep_signed(a != b, d.out, |out| {
                    OperationIr::Float(dtype, Float::Matmul(MatmulOpIr { lhs, rhs, out }))
                });
            }
            OperationIr::BaseFloat(Base::Expand(d))
                if d.input.shape.num_dims() == d.out.shape.num_dims()
                    && self.uniform(&d.input).is_none()
                    && !self.negative.contains_key(&d.input.id) =>
            {
                let of = self.repeated.get(&d.input.id).map_or(d.input, read_only);
                self.is_repeated(d.out, of);
            }
            OperationIr::BaseFloat(Base::Reshape(d)) if self.reshaped.contains_key(&d.input.id) => {
                let input = read_only(&self.reshaped[&d.input.id]);
                self.read(OperationIr::BaseFloat(Base::Reshape(ShapeOpIr { input, ..d })));
            }
            OperationIr::Activation(Activation::ReluBackward(d))
                if self.relu.contains_key(&d.lhs.id) =>
            {
                let lhs = read_only(&self.relu[&d.lhs.id]);
                self.odd(OperationIr::Activation(Activation::ReluBackward(BinaryOpIr {
                    lhs,
                    ..d
                })));
            }
            other => self.odd(other),
        }
    }

    /// Any other operation: the sign of an argument in which it is odd moves to its result.
    fn odd(&mut self, operation: OperationIr) {
        if let Some(number) = self.known(&operation) {
            let out = operation.outputs().next().expect("it has a result").clone();
            return self.is_uniform(out, number);
        }
        let at = self.is_odd_in(&operation);
        let of = at.and_then(|at| self.negative.get(&operation.inputs().nth(at)?.id).cloned());
        let (Some(at), Some(of)) = (at, of) else {
            self.note(&operation);
            return self.keep(operation);
        };
        let out = operation.outputs().next().expect("it has a result").clone();
        self.keep_signed(true, out, |out| {
            let mut operation = operation;
            operation.visit_mut(&mut Replace { at, inputs: count(&operation), of: &of, out: &out });
            operation
        });
    }

    /// The argument in which an operation is odd: `f(-a) = -f(a)`.
    fn is_odd_in(&self, operation: &OperationIr) -> Option<usize> {
        match operation {
            OperationIr::BaseFloat(base) => match base {
                Base::Reshape(_)
                | Base::SwapDims(_)
                | Base::Permute(_)
                | Base::Flip(_)
                | Base::Expand(_)
                | Base::Slice(_)
                | Base::Select(_)
                | Base::Gather(_)
                | Base::RepeatDim(_) => Some(0),
                Base::MaskFill(d) if scalar(d.value) == 0.0 => Some(0),
                Base::Scatter(d)
                    if matches!(d.update, IndexingUpdateOp::Add)
                        && self.uniform(&d.tensor) == Some(0.0) =>
                {
                    operation.inputs().position(|input| input.id == d.value.id)
                }
                _ => None,
            },
            OperationIr::NumericFloat(
                _,
                Numeric::Sum(_)
                | Numeric::SumDim(_)
                | Numeric::SumDims(_)
                | Numeric::Mean(_)
                | Numeric::MeanDim(_)
                | Numeric::DivScalar(_),
            ) => Some(0),
            OperationIr::Activation(
                Activation::ReluBackward(_) | Activation::SigmoidBackward(_),
            ) => Some(1),
            _ => None,
        }
    }

    /// The common value of all entries of the result.
    fn known(&self, operation: &OperationIr) -> Option<f64> {
        match operation {
            OperationIr::BaseFloat(Base::Reshape(d) | Base::Expand(d)) => self.uniform(&d.input),
            OperationIr::BaseFloat(Base::SwapDims(d)) => self.uniform(&d.input),
            OperationIr::BaseFloat(Base::Slice(d)) => self.uniform(&d.tensor),
            _ => None,
        }
    }

    /// Registers a result for later operations.
    fn note(&mut self, operation: &OperationIr) {
        match operation {
            OperationIr::BaseFloat(Base::Ones(d)) => drop(self.uniform.insert(d.out.id, 1.0)),
            OperationIr::BaseFloat(Base::Zeros(d)) => drop(self.uniform.insert(d.out.id, 0.0)),
            OperationIr::NumericFloat(dtype, Numeric::Full(d)) => {
                let number = rounded(*dtype, scalar(d.value));
                self.uniform.extend(number.map(|number| (d.out.id, number)));
            }
            OperationIr::BaseFloat(Base::Reshape(d)) => {
                self.reshaped.insert(d.out.id, d.input.clone());
            }
            OperationIr::Activation(Activation::Relu(d)) => {
                self.relu.insert(d.input.id, d.out.clone());
            }
            _ => {}
        }
    }
}

fn read_only(tensor: &TensorIr) -> TensorIr {
    TensorIr { status: TensorStatus::ReadOnly, ..tensor.clone() }
}

fn count(operation: &OperationIr) -> usize {
    operation.inputs().count()
}

/// Another tensor as one argument, and as the result.
struct Replace<'a> {
    at: usize,
    inputs: usize,
    of: &'a TensorIr,
    out: &'a TensorIr,
}

impl IrVisitorMut for Replace<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        // Inputs are visited before outputs.
        if self.inputs == 0 {
            tensor.id = self.out.id;
            return;
        }
        self.inputs -= 1;
        if self.at == 0 {
            tensor.id = self.of.id;
        }
        self.at = self.at.wrapping_sub(1);
    }
}

#[cfg(test)]
mod tests;
