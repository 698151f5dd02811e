//! Hard sigmoid in the precision of its argument.
//!
//! Burn computes `min(max(a x + b, 0), 1)` in f32 whatever x is, and its autodiff records the operations that it consists
//! of: a cast to f32, a product, a sum, two masks and a cast back. In f64 the rounding is in every derivative.

use std::collections::HashMap;

use burn::backend::ir::{
    BaseOperationIr, IrVisitorMut, MaskFillOpIr, NumericOperationIr, OperationIr, TensorId,
    TensorIr,
};
use burn::tensor::DType;

/// The operations with hard sigmoids of f64 tensors computed in f64. `is_output` says which tensors are looked at from
/// outside.
pub(crate) fn precise(
    mut operations: Vec<OperationIr>,
    is_output: impl Fn(TensorId) -> bool,
) -> Vec<OperationIr> {
    let mut made: HashMap<TensorId, usize> = HashMap::new();
    let mut uses: HashMap<TensorId, usize> = HashMap::new();
    for (at, operation) in operations.iter().enumerate() {
        made.extend(operation.outputs().map(|out| (out.id, at)));
        operation.inputs().for_each(|input| *uses.entry(input.id).or_default() += 1);
    }
    for at in 0..operations.len() {
        let recorded = Recorded { operations: &operations, made: &made };
        let Some(found) = recorded.hard_sigmoid(at) else { continue };
        // The two that are masked are read by their comparisons as well.
        let own = |(id, count): (&TensorId, usize)| uses[id] == count && !is_output(*id);
        if found.within.iter().zip([1, 2, 2, 1]).all(own) {
            found.in_double(&mut operations);
        }
    }
    operations
}

/// A hard sigmoid among the operations.
struct HardSigmoid {
    /// x, in f64.
    input: TensorIr,
    /// The product, the sum, and what is below 1, and above 0 too.
    within: [TensorId; 4],
    /// Where the product is.
    product: usize,
}

impl HardSigmoid {
    /// The product takes x itself, all that follows is in f64, and the cast back changes nothing.
    fn in_double(self, operations: &mut [OperationIr]) {
        struct Double([TensorId; 4]);
        impl IrVisitorMut for Double {
            fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
                if self.0.contains(&tensor.id) {
                    tensor.dtype = DType::F64;
                }
            }
        }
        let mut double = Double(self.within);
        if let OperationIr::NumericFloat(_, NumericOperationIr::MulScalar(product)) =
            &mut operations[self.product]
        {
            product.lhs = self.input;
        }
        for operation in operations {
            let inside = operation.inputs().chain(operation.outputs());
            let inside = inside.filter(|tensor| self.within.contains(&tensor.id)).count() > 0;
            if !inside {
                continue;
            }
            operation.visit_mut(&mut double);
            if let OperationIr::NumericFloat(dtype, _) = operation {
                *dtype = DType::F64;
            }
        }
    }
}

struct Recorded<'a> {
    operations: &'a [OperationIr],
    made: &'a HashMap<TensorId, usize>,
}

impl<'a> Recorded<'a> {
    fn hard_sigmoid(&self, at: usize) -> Option<HardSigmoid> {
        let up = self.cast(&self.operations[at], DType::F32, DType::F64)?;
        let above = self.masked(&up.0, 0.0)?;
        let below = self.masked(&above.tensor, 1.0)?;
        let OperationIr::NumericFloat(_, NumericOperationIr::AddScalar(sum)) =
            self.maker(&below.tensor)?
        else {
            return None;
        };
        let OperationIr::NumericFloat(_, NumericOperationIr::MulScalar(product)) =
            self.maker(&sum.lhs)?
        else {
            return None;
        };
        let (input, _) = self.cast(self.maker(&product.lhs)?, DType::F64, DType::F32)?;
        let within = [sum.lhs.id, below.tensor.id, above.tensor.id, up.0.id];
        Some(HardSigmoid { input, within, product: self.made[&sum.lhs.id] })
    }

    fn maker(&self, tensor: &TensorIr) -> Option<&'a OperationIr> {
        self.made.get(&tensor.id).map(|at| &self.operations[*at])
    }

    /// The argument and the result of a cast.
    fn cast(
        &self,
        operation: &OperationIr,
        from: DType,
        to: DType,
    ) -> Option<(TensorIr, TensorIr)> {
        match operation {
            OperationIr::BaseFloat(BaseOperationIr::Cast(d))
                if d.input.dtype == from && d.out.dtype == to =>
            {
                Some((d.input.clone(), d.out.clone()))
            }
            _ => None,
        }
    }

    /// Whatever is masked by the bound where it is beyond it: below 0, or above 1.
    fn masked(&self, tensor: &TensorIr, bound: f64) -> Option<&'a MaskFillOpIr> {
        let OperationIr::BaseFloat(BaseOperationIr::MaskFill(d)) = self.maker(tensor)? else {
            return None;
        };
        let beyond = match self.maker(&d.mask)? {
            OperationIr::NumericFloat(_, NumericOperationIr::LowerElem(c)) if bound == 0.0 => c,
            OperationIr::NumericFloat(_, NumericOperationIr::GreaterElem(c)) if bound == 1.0 => c,
            _ => return None,
        };
        let numbers = [d.value, beyond.rhs].iter().all(|number| number.elem::<f64>() == bound);
        (numbers && beyond.lhs.id == d.tensor.id).then_some(d)
    }
}
