//! What one step of a fused pass computes.

use crate::elementwise::Number;

/// An operation on the entries `a`, `b` and `c` of its arguments. Comparisons give masks.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the operations of Burn by these names")]
pub enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    AddScalar(f64),
    SubScalar(f64),
    MulScalar(f64),
    DivScalar(f64),
    Neg,
    Abs,
    Recip,
    Sqrt,
    /// `a a`
    Square,
    Exp,
    Log,
    Tanh,
    Relu,
    /// `b` where the output `a` of relu is positive.
    ReluBackward,
    Sigmoid,
    /// `b a (1 - a)`
    SigmoidBackward,
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Lower,
    LowerEqual,
    EqualElem(f64),
    NotEqualElem(f64),
    GreaterElem(f64),
    GreaterEqualElem(f64),
    LowerElem(f64),
    LowerEqualElem(f64),
    /// The number where the mask `b` is set, `a` elsewhere.
    MaskFill(f64),
    /// `c` where the mask `b` is set, `a` elsewhere.
    MaskWhere,
}

impl Operation {
    /// Those of the three that the operation reads.
    pub(super) fn arguments<'a>(&self, of: &'a [usize; 3]) -> &'a [usize] {
        use Operation::*;
        match self {
            Add | Sub | Mul | Div | ReluBackward | SigmoidBackward | Equal | NotEqual | Greater
            | GreaterEqual | Lower | LowerEqual | MaskFill(_) => &of[..2],
            MaskWhere => of,
            _ => &of[..1],
        }
    }

    /// The operation on a block.
    #[inline(always)]
    pub(super) fn compute<'a, T: Number>(self, out: &mut [T], of: impl Fn(usize) -> &'a [T]) {
        use Operation::*;
        let mask = |set: bool| T::select(set, T::ONE, T::ZERO);
        match self {
            Add => two(out, of, |a, b| a + b),
            Sub => two(out, of, |a, b| a - b),
            Mul => two(out, of, |a, b| a * b),
            Div => two(out, of, |a, b| a / b),
            AddScalar(c) => with(out, of, c, |a, c| a + c),
            SubScalar(c) => with(out, of, c, |a, c| a - c),
            MulScalar(c) => with(out, of, c, |a, c| a * c),
            DivScalar(c) => with(out, of, c, |a, c| a / c),
            Neg => one(out, of, |a| -a),
            Abs => one(out, of, |a| a.abs()),
            Recip => one(out, of, |a| T::ONE / a),
            Sqrt => one(out, of, |a| a.sqrt()),
            Square => one(out, of, |a| a * a),
            Exp => one(out, of, T::exponential),
            Log => one(out, of, T::logarithm),
            Tanh => one(out, of, T::hyperbolic_tangent),
            // NaN is preserved.
            Relu => one(out, of, |a| if a <= T::ZERO { T::ZERO } else { a }),
            ReluBackward => two(out, of, |a, b| if a <= T::ZERO { T::ZERO } else { b }),
            Sigmoid => one(out, of, T::sigmoid),
            SigmoidBackward => two(out, of, |a, b| b * a * (T::ONE - a)),
            Equal => two(out, of, |a, b| mask(a == b)),
            NotEqual => two(out, of, |a, b| mask(a != b)),
            Greater => two(out, of, |a, b| mask(a > b)),
            GreaterEqual => two(out, of, |a, b| mask(a >= b)),
            Lower => two(out, of, |a, b| mask(a < b)),
            LowerEqual => two(out, of, |a, b| mask(a <= b)),
            EqualElem(c) => with(out, of, c, |a, c| mask(a == c)),
            NotEqualElem(c) => with(out, of, c, |a, c| mask(a != c)),
            GreaterElem(c) => with(out, of, c, |a, c| mask(a > c)),
            GreaterEqualElem(c) => with(out, of, c, |a, c| mask(a >= c)),
            LowerElem(c) => with(out, of, c, |a, c| mask(a < c)),
            LowerEqualElem(c) => with(out, of, c, |a, c| mask(a <= c)),
            MaskFill(c) => {
                let c = T::of(c);
                two(out, of, |a, b| T::select(b != T::ZERO, c, a));
            }
            MaskWhere => {
                let (a, b, c) = (of(0), of(1), of(2));
                for (((out, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
                    *out = T::select(b != T::ZERO, c, a);
                }
            }
        }
    }
}

#[inline(always)]
fn one<'a, T: Number>(out: &mut [T], of: impl Fn(usize) -> &'a [T], f: impl Fn(T) -> T) {
    for (out, &a) in out.iter_mut().zip(of(0)) {
        *out = f(a);
    }
}

/// With a number, in the precision of the entries.
#[inline(always)]
fn with<'a, T: Number>(
    out: &mut [T],
    of: impl Fn(usize) -> &'a [T],
    c: f64,
    f: impl Fn(T, T) -> T,
) {
    let c = T::of(c);
    one(out, of, |a| f(a, c));
}

#[inline(always)]
fn two<'a, T: Number>(out: &mut [T], of: impl Fn(usize) -> &'a [T], f: impl Fn(T, T) -> T) {
    let (a, b) = (of(0), of(1));
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *out = f(a, b);
    }
}
