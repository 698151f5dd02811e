//! Rules that look at one operation alone.

use burn::backend::ir::{
    BaseOperationIr as Base, NumericOperationIr as Numeric, OperationIr, ScalarIr, ScalarOpIr,
    TensorIr,
};

/// A quotient by a number as a product with its reciprocal: Burn's backward pass of a quotient computes the reciprocal
/// in f32, whatever the type of the tensors. A whole number that is added or subtracted becomes a floating-point number
/// where this is exact, so that both spellings are one operation.
pub(super) fn canonical(operation: OperationIr) -> OperationIr {
    match operation {
        OperationIr::NumericFloat(dtype, Numeric::DivScalar(quotient)) => {
            let rhs = match quotient.rhs {
                ScalarIr::Float(rhs) if (rhs.recip() as f32).is_normal() => rhs.recip(),
                _ => {
                    return OperationIr::NumericFloat(dtype, Numeric::DivScalar(quotient));
                }
            };
            let product = ScalarOpIr { rhs: ScalarIr::Float(rhs), ..quotient };
            OperationIr::NumericFloat(dtype, Numeric::MulScalar(product))
        }
        OperationIr::NumericFloat(dtype, Numeric::AddScalar(sum)) => {
            let rhs = float(sum.rhs);
            OperationIr::NumericFloat(dtype, Numeric::AddScalar(ScalarOpIr { rhs, ..sum }))
        }
        OperationIr::NumericFloat(dtype, Numeric::SubScalar(sum)) => {
            let rhs = float(sum.rhs);
            OperationIr::NumericFloat(dtype, Numeric::SubScalar(ScalarOpIr { rhs, ..sum }))
        }
        other => other,
    }
}

fn float(number: ScalarIr) -> ScalarIr {
    match number {
        ScalarIr::Int(whole) if whole.unsigned_abs() < 1 << 53 => ScalarIr::Float(whole as f64),
        other => other,
    }
}

/// The result and the argument of an operation that returns its argument.
pub(super) fn changes_nothing(operation: &OperationIr) -> Option<(&TensorIr, &TensorIr)> {
    let (input, out) = match operation {
        OperationIr::BaseFloat(base) | OperationIr::BaseInt(base) | OperationIr::BaseBool(base) => {
            match base {
                Base::Reshape(d) | Base::Expand(d) if d.input.shape == d.out.shape => {
                    (&d.input, &d.out)
                }
                Base::Cast(d) if d.input.dtype == d.out.dtype => (&d.input, &d.out),
                _ => return None,
            }
        }
        OperationIr::NumericFloat(_, numeric) => match numeric {
            // Over one entry.
            Numeric::SumDim(d) | Numeric::MeanDim(d) if d.input.shape == d.out.shape => {
                (&d.input, &d.out)
            }
            Numeric::SumDims(d) if d.input.shape == d.out.shape => (&d.input, &d.out),
            Numeric::Sum(d) | Numeric::Mean(d) if d.input.shape == d.out.shape => {
                (&d.input, &d.out)
            }
            _ => return None,
        },
        _ => return None,
    };
    Some((out, input))
}
