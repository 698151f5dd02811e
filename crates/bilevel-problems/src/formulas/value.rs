//! The values of formulas: numbers, and tensors of one number.

use std::num::ParseFloatError;
use std::str::FromStr;

use burn::tensor::Tensor;
use exmex::{BinOp, MakeOperators, MatchLiteral, Operator};

/// A number, or a tensor of shape `[1]` that depends on the variables.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a formula has few of them")]
pub(super) enum Value {
    Number(f64),
    Tensor(Tensor<1>),
}

use Value::{Number, Tensor as Variable};

impl Default for Value {
    fn default() -> Self {
        Number(0.0)
    }
}

impl FromStr for Value {
    type Err = ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Number)
    }
}

impl Value {
    fn add(self, other: Self) -> Self {
        match (self, other) {
            (Number(a), Number(b)) => Number(a + b),
            (Number(a), Variable(b)) | (Variable(b), Number(a)) => Variable(b + a),
            (Variable(a), Variable(b)) => Variable(a + b),
        }
    }

    fn negative(self) -> Self {
        match self {
            Number(a) => Number(-a),
            Variable(a) => Variable(-a),
        }
    }

    fn multiply(self, other: Self) -> Self {
        match (self, other) {
            (Number(a), Number(b)) => Number(a * b),
            (Number(a), Variable(b)) | (Variable(b), Number(a)) => Variable(b * a),
            (Variable(a), Variable(b)) => Variable(a * b),
        }
    }

    fn divide(self, other: Self) -> Self {
        match (self, other) {
            (Number(a), Number(b)) => Number(a / b),
            (Variable(a), Number(b)) => Variable(a * (1.0 / b)),
            (Number(a), Variable(b)) => Variable(b.recip() * a),
            (Variable(a), Variable(b)) => Variable(a / b),
        }
    }

    fn power(self, exponent: Self) -> Self {
        match (self, exponent) {
            (Number(a), Number(b)) => Number(a.powf(b)),
            (Variable(a), Number(b)) if b.fract() == 0.0 && b.abs() <= 16.0 => {
                Variable(a.powi_scalar(b as i32))
            }
            (Variable(a), Number(b)) => Variable(a.powf_scalar(b)),
            (base, exponent) => base.log().multiply(exponent).exponential(),
        }
    }

    fn log(self) -> Self {
        self.apply(f64::ln, Tensor::log)
    }

    fn exponential(self) -> Self {
        self.apply(f64::exp, Tensor::exp)
    }

    fn apply(self, number: fn(f64) -> f64, tensor: fn(Tensor<1>) -> Tensor<1>) -> Self {
        match self {
            Number(a) => Number(number(a)),
            Variable(a) => Variable(tensor(a)),
        }
    }
}

/// Numbers, with a point and an exponent or without: `2`, `0.5`, `1.5e-3`.
#[derive(Clone, Debug)]
pub(super) struct NumberLiteral;

impl MatchLiteral for NumberLiteral {
    fn is_literal(text: &str) -> Option<&str> {
        let digits = |from: usize| {
            let rest = text.get(from..).unwrap_or_default();
            from + rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
        };
        let whole = digits(0);
        let mut end = if text[whole..].starts_with('.') { digits(whole + 1) } else { whole };
        if whole == 0 && end <= 1 {
            return None;
        }
        if let Some(rest) = text[end..].strip_prefix(['e', 'E']) {
            let sign = usize::from(rest.starts_with(['-', '+']));
            let from = end + 1 + sign;
            if digits(from) > from {
                end = digits(from);
            }
        }
        Some(&text[..end])
    }
}

/// `+ - * / ^`, and functions of one number.
#[derive(Clone, Debug)]
pub(super) struct Operators;

impl MakeOperators<Value> for Operators {
    fn make<'a>() -> Vec<Operator<'a, Value>> {
        let binary = |apply: fn(Value, Value) -> Value, prio, is_commutative| BinOp {
            apply,
            prio,
            is_commutative,
        };
        vec![
            Operator::make_bin("+", binary(Value::add, 0, true)),
            Operator::make_bin("-", binary(|a, b| a.add(b.negative()), 1, false)),
            Operator::make_bin("*", binary(Value::multiply, 2, true)),
            Operator::make_bin("/", binary(Value::divide, 3, false)),
            Operator::make_bin("^", binary(Value::power, 4, false)),
            Operator::make_unary("sin", |a| a.apply(f64::sin, Tensor::sin)),
            Operator::make_unary("cos", |a| a.apply(f64::cos, Tensor::cos)),
            Operator::make_unary("tan", |a| a.apply(f64::tan, |a| a.clone().sin() / a.cos())),
            Operator::make_unary("tanh", |a| a.apply(f64::tanh, Tensor::tanh)),
            Operator::make_unary("exp", Value::exponential),
            Operator::make_unary("ln", Value::log),
            Operator::make_unary("sqrt", |a| a.apply(f64::sqrt, Tensor::sqrt)),
            Operator::make_unary("abs", |a| a.apply(f64::abs, Tensor::abs)),
            Operator::make_constant("pi", Number(std::f64::consts::PI)),
        ]
    }
}
