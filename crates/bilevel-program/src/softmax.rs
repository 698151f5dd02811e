//! Softmax, where it was recorded as the operations of which it consists.
//!
//! Burn's autodiff computes it as `exp(x - max)` over its sum, the maximum being a constant: the shift does not change
//! the value. The recording does not show this, so that derivatives would needlessly pass through the maximum.

use std::collections::HashMap;

use burn::backend::ir::{
    ActivationOperationIr, BaseOperationIr, BinaryOpIr, DimOpIr, FloatOperationIr,
    NumericOperationIr, OperationIr, TensorId, TensorIr, UnaryOpIr,
};

/// The operations with softmax and its logarithm as one operation each.
pub(crate) fn recognised(mut operations: Vec<OperationIr>) -> Vec<OperationIr> {
    let made = makers(&operations);
    let found: Vec<_> = (0..operations.len())
        .filter_map(|at| {
            let recorded = Recorded { operations: &operations, made: &made };
            Some((at, recorded.softmax(at).or_else(|| recorded.log_softmax(at))?))
        })
        .collect();
    for (at, activation) in found {
        operations[at] = OperationIr::Activation(activation);
    }
    operations
}

/// The operations with `c exp(y)` as `(c / sum exp(s)) exp(s)`, where y is a logarithm of softmax, and c another sum of
/// the shape of `sum exp(s)`, or the negative of one. This is the form of the backward pass of y, equal up to rounding.
/// So a program that has this backward pass, and a second derivative that passes through the same place, computes them
/// once. `next` is a number above those of all tensors.
pub(crate) fn as_backward(operations: &[OperationIr], mut next: usize) -> Vec<OperationIr> {
    let made = makers(operations);
    let recorded = Recorded { operations, made: &made };
    let mut fresh = |like: &TensorIr| {
        next += 1;
        TensorIr { id: TensorId::new(next as u64 - 1), ..like.clone() }
    };
    let mut all = Vec::with_capacity(operations.len());
    for (at, operation) in operations.iter().enumerate() {
        match recorded.column_times_softmax(at) {
            Some((out, column, exp, sum)) => {
                let dtype = out.dtype;
                let (recip, quotient) = (fresh(sum), fresh(column));
                let product = |lhs: &TensorIr, rhs: &TensorIr, out: &TensorIr| {
                    let [lhs, rhs, out] = [lhs, rhs, out].map(Clone::clone);
                    let product = BinaryOpIr { lhs, rhs, out };
                    OperationIr::NumericFloat(dtype, NumericOperationIr::Mul(product))
                };
                let inverse = UnaryOpIr { input: sum.clone(), out: recip.clone() };
                all.push(OperationIr::Float(dtype, FloatOperationIr::Recip(inverse)));
                all.push(product(column, &recip, &quotient));
                all.push(product(&quotient, exp, out));
            }
            None => all.push(operation.clone()),
        }
    }
    all
}

fn makers(operations: &[OperationIr]) -> HashMap<TensorId, usize> {
    let made = operations.iter().enumerate();
    made.flat_map(|(at, operation)| operation.outputs().map(move |out| (out.id, at))).collect()
}

struct Recorded<'a> {
    operations: &'a [OperationIr],
    made: &'a HashMap<TensorId, usize>,
}

impl<'a> Recorded<'a> {
    /// `exp(s) / sum exp(s)`
    fn softmax(&self, at: usize) -> Option<ActivationOperationIr> {
        let OperationIr::NumericFloat(_, NumericOperationIr::Div(d)) = &self.operations[at] else {
            return None;
        };
        let (shifted, axis) = self.sum_exp(&d.rhs)?;
        let input = self.shifted(shifted, axis)?;
        let same = self.exp(&d.lhs)?.id == shifted.id;
        same.then(|| {
            ActivationOperationIr::Softmax(DimOpIr {
                input: input.clone(),
                out: d.out.clone(),
                axis,
            })
        })
    }

    /// `s - log sum exp(s)`
    fn log_softmax(&self, at: usize) -> Option<ActivationOperationIr> {
        let OperationIr::NumericFloat(_, NumericOperationIr::Sub(d)) = &self.operations[at] else {
            return None;
        };
        let OperationIr::Float(_, FloatOperationIr::Log(log)) = self.maker(&d.rhs)? else {
            return None;
        };
        let (shifted, axis) = self.sum_exp(&log.input)?;
        let input = self.shifted(shifted, axis)?;
        let same = d.lhs.id == shifted.id;
        same.then(|| {
            ActivationOperationIr::LogSoftmax(DimOpIr {
                input: input.clone(),
                out: d.out.clone(),
                axis,
            })
        })
    }

    /// `c exp(y)` with y = `s - log sum exp(s)` and c another sum of the shape of `sum exp(s)`, or the negative of one,
    /// possibly expanded: the product, c, `exp(s)` and its sum.
    fn column_times_softmax(
        &self,
        at: usize,
    ) -> Option<(&'a TensorIr, &'a TensorIr, &'a TensorIr, &'a TensorIr)> {
        let OperationIr::NumericFloat(_, NumericOperationIr::Mul(d)) = &self.operations[at] else {
            return None;
        };
        let of = |column: &'a TensorIr, softmax: &'a TensorIr| {
            let OperationIr::NumericFloat(_, NumericOperationIr::Sub(y)) =
                self.maker(self.exp(softmax)?)?
            else {
                return None;
            };
            let OperationIr::Float(_, FloatOperationIr::Log(log)) = self.maker(&y.rhs)? else {
                return None;
            };
            let OperationIr::NumericFloat(_, NumericOperationIr::SumDim(sum)) =
                self.maker(&log.input)?
            else {
                return None;
            };
            let column = self.before_expand(column);
            let same = self.exp(&sum.input)?.id == y.lhs.id
                && column.shape == sum.out.shape
                && d.out.shape == sum.input.shape;
            (same && self.is_sum(column)).then_some((&d.out, column, &sum.input, &sum.out))
        };
        of(&d.lhs, &d.rhs).or_else(|| of(&d.rhs, &d.lhs))
    }

    /// Whether this is a sum, or the negative of one.
    fn is_sum(&self, tensor: &TensorIr) -> bool {
        match self.maker(tensor) {
            Some(OperationIr::NumericFloat(_, NumericOperationIr::SumDim(_))) => true,
            Some(OperationIr::NumericFloat(_, NumericOperationIr::Neg(d))) => self.is_sum(&d.input),
            _ => false,
        }
    }

    fn before_expand(&self, tensor: &'a TensorIr) -> &'a TensorIr {
        match self.maker(tensor) {
            Some(OperationIr::BaseFloat(BaseOperationIr::Expand(d))) => &d.input,
            _ => tensor,
        }
    }

    fn maker(&self, tensor: &TensorIr) -> Option<&'a OperationIr> {
        self.made.get(&tensor.id).map(|at| &self.operations[*at])
    }

    fn exp(&self, tensor: &TensorIr) -> Option<&'a TensorIr> {
        match self.maker(tensor)? {
            OperationIr::Float(_, FloatOperationIr::Exp(d)) => Some(&d.input),
            _ => None,
        }
    }

    fn sum_exp(&self, tensor: &TensorIr) -> Option<(&'a TensorIr, usize)> {
        match self.maker(tensor)? {
            OperationIr::NumericFloat(_, NumericOperationIr::SumDim(d)) => {
                Some((self.exp(&d.input)?, d.axis))
            }
            _ => None,
        }
    }

    /// x, of `x - max x`.
    fn shifted(&self, tensor: &TensorIr, axis: usize) -> Option<&'a TensorIr> {
        let OperationIr::NumericFloat(_, NumericOperationIr::Sub(d)) = self.maker(tensor)? else {
            return None;
        };
        let (input, over) = match self.maker(&d.rhs)? {
            OperationIr::NumericFloat(_, NumericOperationIr::MaxDim(max)) => (&max.input, max.axis),
            OperationIr::NumericFloat(_, NumericOperationIr::MaxDimWithIndices(max))
                if max.out.id == d.rhs.id =>
            {
                (&max.tensor, max.dim)
            }
            _ => return None,
        };
        (input.id == d.lhs.id && over == axis).then_some(&d.lhs)
    }
}
