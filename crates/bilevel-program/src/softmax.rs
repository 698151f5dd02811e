//! Softmax, where it was recorded as the operations of which it consists.
//!
//! Burn's autodiff computes it as `exp(x - max)` over its sum, the maximum being a constant: the shift does not change
//! the value. The recording does not show this, so that derivatives would needlessly pass through the maximum.

use std::collections::HashMap;

use burn::backend::ir::{
    ActivationOperationIr, DimOpIr, FloatOperationIr, NumericOperationIr, OperationIr, TensorId,
    TensorIr,
};

/// The operations with softmax and its logarithm as one operation each.
pub(crate) fn recognised(mut operations: Vec<OperationIr>) -> Vec<OperationIr> {
    let mut made: HashMap<TensorId, usize> = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        made.extend(operation.outputs().map(|out| (out.id, at)));
    }
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
