//! Products, sums and quotients of tensors.

use burn::backend::ir::{
    BaseOperationIr as Base, BinaryOpIr, FloatOperationIr as Float, NumericOperationIr as Numeric,
    OperationIr, ScalarIr, ScalarOpIr, ShapeOpIr, UnaryOpIr,
};

use super::{Simplify, read_only, rounded, scalar};

impl Simplify {
    /// `a b`
    pub(super) fn product(&mut self, d: BinaryOpIr) {
        let BinaryOpIr { lhs, rhs, out } = d;
        let ((lhs, a), (rhs, b)) = (self.unsigned(&lhs), self.unsigned(&rhs));
        let negative = a != b;
        let (lhs, rhs) = if self.uniform(&lhs).is_some() { (rhs, lhs) } else { (lhs, rhs) };
        let (whole, dtype) = (lhs.shape == out.shape, out.dtype);
        let signed = |number: f64| if negative { -number } else { number };
        match (self.uniform(&lhs), self.uniform(&rhs)) {
            (Some(a), Some(b)) if rounded(dtype, a * b).is_some() => {
                let number = rounded(dtype, a * b).expect("it was just rounded");
                return self.is_uniform(out, signed(number));
            }
            (None, Some(1.0)) if whole && negative => return self.is_negative(out, lhs),
            (None, Some(1.0)) if whole => return self.is(&out, &lhs),
            (None, Some(1.0)) if lhs.shape.num_dims() == out.shape.num_dims() => {
                let of = self.repeated.get(&lhs.id).map_or(lhs, read_only);
                return match negative {
                    false => self.is_repeated(out, of),
                    true => self.keep_signed(true, out, |out| {
                        OperationIr::BaseFloat(Base::Expand(ShapeOpIr { input: of, out }))
                    }),
                };
            }
            (None, Some(number)) if whole => {
                let rhs = ScalarIr::Float(signed(number));
                return self.multiple(ScalarOpIr { lhs, rhs, out });
            }
            _ => {}
        }
        let (lhs, rhs) = self.broadcast(lhs, rhs);
        self.keep_signed(negative, out, |out| {
            OperationIr::NumericFloat(dtype, Numeric::Mul(BinaryOpIr { lhs, rhs, out }))
        });
    }

    /// `c a`
    pub(super) fn multiple(&mut self, d: ScalarOpIr) {
        let ScalarOpIr { lhs, rhs, out } = d;
        let dtype = out.dtype;
        let c = scalar(rhs);
        let product = self.uniform(&lhs).and_then(|a| rounded(dtype, a * rounded(dtype, c)?));
        if let Some(number) = product {
            return self.is_uniform(out, number);
        }
        let (lhs, negative) = self.unsigned(&lhs);
        match if negative { -c } else { c } {
            1.0 => self.is(&out, &lhs),
            -1.0 => self.is_negative(out, lhs),
            c => {
                let product = ScalarOpIr { lhs, rhs: ScalarIr::Float(c), out };
                self.keep(OperationIr::NumericFloat(dtype, Numeric::MulScalar(product)));
            }
        }
    }

    /// `a + b`, or `a - b`.
    pub(super) fn sum(&mut self, d: BinaryOpIr, difference: bool) {
        let BinaryOpIr { lhs, rhs, out } = d;
        if difference && lhs.shape == out.shape && self.uniform(&rhs) == Some(0.0) {
            return self.is(&out, &lhs);
        }
        let signed = lhs.clone();
        let ((lhs, a), (rhs, b)) = (self.unsigned(&lhs), self.unsigned(&rhs));
        let (lhs, rhs) = self.broadcast(lhs, rhs);
        let dtype = out.dtype;
        let add = |lhs, rhs, out| {
            OperationIr::NumericFloat(dtype, Numeric::Add(BinaryOpIr { lhs, rhs, out }))
        };
        let sub = |lhs, rhs, out| {
            OperationIr::NumericFloat(dtype, Numeric::Sub(BinaryOpIr { lhs, rhs, out }))
        };
        match (a, b != difference) {
            (false, false) => self.keep(add(lhs, rhs, out)),
            (false, true) => self.keep(sub(lhs, rhs, out)),
            (true, false) => self.keep(sub(rhs, lhs, out)),
            // As recorded: softmax is recognised by its `x - max x`, whatever the sign of x.
            (true, true) if difference => self.keep(sub(signed, rhs, out)),
            (true, true) => self.keep_signed(true, out, |out| add(lhs, rhs, out)),
        }
    }

    /// `a / b`
    pub(super) fn quotient(&mut self, d: BinaryOpIr) {
        let BinaryOpIr { lhs, rhs, out } = d;
        let dtype = out.dtype;
        if lhs.shape == out.shape && self.uniform(&rhs) == Some(1.0) {
            return self.is(&out, &lhs);
        }
        let ((lhs, a), (rhs, b)) = (self.unsigned(&lhs), self.unsigned(&rhs));
        if rhs.shape == out.shape && self.uniform(&lhs) == Some(1.0) {
            return self.keep_signed(a != b, out, |out| {
                OperationIr::Float(dtype, Float::Recip(UnaryOpIr { input: rhs, out }))
            });
        }
        let (lhs, rhs) = self.broadcast(lhs, rhs);
        self.keep_signed(a != b, out, |out| {
            OperationIr::NumericFloat(dtype, Numeric::Div(BinaryOpIr { lhs, rhs, out }))
        });
    }
}
