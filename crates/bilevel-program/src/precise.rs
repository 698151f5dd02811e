//! Hard sigmoid in the precision of its argument.
//!
//! Burn computes `min(max(a x + b, 0), 1)` in f32 whatever the type of x, and its autodiff records the operations of
//! which it consists: a cast to f32, a product, a sum, two masks and a cast back. In f64 the rounding is in every
//! derivative. The product may have become a sign, or nothing (`simplify.rs`).

use std::collections::HashMap;

use burn::backend::ir::{
    BaseOperationIr, MaskFillOpIr, NumericOperationIr, OperationIr, ScalarIr, ScalarOpIr, TensorId,
    TensorIr, UnaryOpIr,
};
use burn::tensor::DType;

/// The operations with hard sigmoids of f64 tensors computed in f64. The f32 computations stay, since others may read
/// them. New tensors are numbered from `next` on.
pub(crate) fn precise(operations: Vec<OperationIr>, next: usize) -> Vec<OperationIr> {
    let outputs = operations.iter().enumerate().flat_map(|(at, operation)| {
        operation.outputs().map(move |out| (out.id, at)).collect::<Vec<_>>()
    });
    let made: HashMap<TensorId, usize> = outputs.collect();
    let recorded = Recorded { operations: &operations, made: &made };
    let found: Vec<_> = (0..operations.len()).map(|at| recorded.hard_sigmoid(at)).collect();
    let next = next as u64;
    let mut double = InDouble { operations: Vec::with_capacity(operations.len()), next };
    for (operation, found) in operations.into_iter().zip(found) {
        match found {
            Some(found) => double.write(found),
            None => double.operations.push(operation),
        }
    }
    double.operations
}

/// `min(max(a x + b, 0), 1)`
struct HardSigmoid {
    /// x, in f64.
    input: TensorIr,
    slope: Slope,
    offset: ScalarIr,
    /// What is masked where it is above 1, then where it is below 0: the type of the masks.
    masks: [TensorIr; 2],
    out: TensorIr,
}

/// a, as the product with it was simplified.
enum Slope {
    One,
    MinusOne,
    Other(ScalarIr),
}

/// Writes operations in f64.
struct InDouble {
    operations: Vec<OperationIr>,
    next: u64,
}

impl InDouble {
    fn write(&mut self, found: HardSigmoid) {
        let HardSigmoid { input, slope, offset, masks: [above, below], out } = found;
        let scaled = match slope {
            Slope::One => input,
            Slope::MinusOne => {
                let out = self.like(&out);
                self.numeric(NumericOperationIr::Neg(UnaryOpIr { input, out: out.clone() }));
                out
            }
            Slope::Other(rhs) => {
                let out = self.like(&out);
                let product = ScalarOpIr { lhs: input, rhs, out: out.clone() };
                self.numeric(NumericOperationIr::MulScalar(product));
                out
            }
        };
        let sum = self.like(&out);
        self.numeric(NumericOperationIr::AddScalar(ScalarOpIr {
            lhs: scaled,
            rhs: offset,
            out: sum.clone(),
        }));
        let at_most = self.like(&out);
        self.masked(NumericOperationIr::GreaterElem, &sum, &above, 1.0, at_most.clone());
        self.masked(NumericOperationIr::LowerElem, &at_most, &below, 0.0, out);
    }

    /// `out`: `tensor`, clipped to the bound.
    fn masked(
        &mut self,
        beyond: fn(ScalarOpIr) -> NumericOperationIr,
        tensor: &TensorIr,
        mask: &TensorIr,
        bound: f64,
        out: TensorIr,
    ) {
        let (mask, value) = (self.like(mask), ScalarIr::Float(bound));
        self.numeric(beyond(ScalarOpIr { lhs: tensor.clone(), rhs: value, out: mask.clone() }));
        let fill = MaskFillOpIr { tensor: tensor.clone(), mask, value, out };
        self.operations.push(OperationIr::BaseFloat(BaseOperationIr::MaskFill(fill)));
    }

    fn numeric(&mut self, operation: NumericOperationIr) {
        self.operations.push(OperationIr::NumericFloat(DType::F64, operation));
    }

    /// A new tensor.
    fn like(&mut self, tensor: &TensorIr) -> TensorIr {
        self.next += 1;
        TensorIr { id: TensorId::new(self.next - 1), ..tensor.clone() }
    }
}

struct Recorded<'a> {
    operations: &'a [OperationIr],
    made: &'a HashMap<TensorId, usize>,
}

impl<'a> Recorded<'a> {
    fn hard_sigmoid(&self, at: usize) -> Option<HardSigmoid> {
        let (inside, out) = self.cast(&self.operations[at], DType::F32, DType::F64)?;
        let (at_most, below) = self.masked(&inside, 0.0)?;
        let (sum, above) = self.masked(at_most, 1.0)?;
        let OperationIr::NumericFloat(_, NumericOperationIr::AddScalar(sum)) = self.maker(sum)?
        else {
            return None;
        };
        let (slope, input) = match self.maker(&sum.lhs)? {
            OperationIr::NumericFloat(_, NumericOperationIr::MulScalar(product)) => {
                (Slope::Other(product.rhs), self.maker(&product.lhs)?)
            }
            OperationIr::NumericFloat(_, NumericOperationIr::Neg(d)) => {
                (Slope::MinusOne, self.maker(&d.input)?)
            }
            cast => (Slope::One, cast),
        };
        let (input, _) = self.cast(input, DType::F64, DType::F32)?;
        let masks = [above.clone(), below.clone()];
        Some(HardSigmoid { input, slope, offset: sum.rhs, masks, out })
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

    /// What is replaced by the bound where it is below 0 or above 1, and the mask.
    fn masked(&self, tensor: &TensorIr, bound: f64) -> Option<(&'a TensorIr, &'a TensorIr)> {
        let OperationIr::BaseFloat(BaseOperationIr::MaskFill(d)) = self.maker(tensor)? else {
            return None;
        };
        let beyond = match self.maker(&d.mask)? {
            OperationIr::NumericFloat(_, NumericOperationIr::LowerElem(c)) if bound == 0.0 => c,
            OperationIr::NumericFloat(_, NumericOperationIr::GreaterElem(c)) if bound == 1.0 => c,
            _ => return None,
        };
        let numbers = [d.value, beyond.rhs].iter().all(|number| number.elem::<f64>() == bound);
        (numbers && beyond.lhs.id == d.tensor.id).then_some((&d.tensor, &d.mask))
    }
}
