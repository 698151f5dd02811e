//! What an operation is called, and whether it can be part of a program.

use std::fmt::{self, Debug, Write};

use burn::backend::DType;
use burn::backend::ir::{
    BaseOperationIr as Base, FloatOperationIr as Float, NumericOperationIr as Numeric, OperationIr,
};
use burn::backend::tensor::IndexingUpdateOp;

/// Why an operation cannot be part of a program; each holds the operation's [name](name()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It draws random numbers: it can be computed, but two evaluations differ, so that it has no
    /// derivatives.
    Random(String),
    /// It reads or writes quantised tensors.
    Quantised(String),
    /// It was defined outside Burn, exchanges values with other devices, or exists in the representation without any
    /// backend that implements it.
    Unknown(String),
}

/// Why an operation cannot be part of a program; none if it can.
pub(crate) fn refuse(operation: &OperationIr) -> Option<Refused> {
    let why: fn(String) -> Refused = match operation {
        OperationIr::Float(_, Float::Random(_))
        | OperationIr::NumericInt(_, Numeric::IntRandom(_)) => Refused::Random,
        OperationIr::Float(_, Float::Quantize(_) | Float::Dequantize(_)) => Refused::Quantised,
        OperationIr::NumericFloat(_, Numeric::IntRandom(_))
        | OperationIr::BaseBool(Base::ScatterNd(_) | Base::GatherNd(_) | Base::Cast(_))
        | OperationIr::Custom(_)
        | OperationIr::Distributed(_) => Refused::Unknown,
        OperationIr::BaseBool(Base::Scatter(o)) if o.update != IndexingUpdateOp::Add => {
            Refused::Unknown
        }
        OperationIr::BaseBool(Base::SelectAssign(o)) if o.update != IndexingUpdateOp::Add => {
            Refused::Unknown
        }
        OperationIr::BaseFloat(_)
        | OperationIr::BaseInt(_)
        | OperationIr::BaseBool(_)
        | OperationIr::NumericFloat(..)
        | OperationIr::NumericInt(..)
        | OperationIr::Bool(_)
        | OperationIr::Int(_)
        | OperationIr::Float(..)
        | OperationIr::Module(_)
        | OperationIr::Init(_)
        | OperationIr::Drop(_)
        | OperationIr::Activation(_) => {
            let mut tensors = operation.inputs().chain(operation.outputs());
            if !tensors.any(|tensor| matches!(tensor.dtype, DType::QFloat(_))) {
                return None;
            }
            Refused::Quantised
        }
    };
    Some(why(name(operation)))
}

/// A short name of an operation, such as "matmul", "sum_dim" or "conv2d_weight_backward"; those on integers and
/// booleans begin with "int_" and "bool_".
pub(crate) fn name(operation: &OperationIr) -> String {
    let (kind, operation): (&str, &dyn Debug) = match operation {
        OperationIr::BaseFloat(o) => ("", o),
        OperationIr::NumericFloat(_, o) => ("", o),
        OperationIr::Float(_, o) => ("", o),
        OperationIr::BaseInt(o) => ("int_", o),
        OperationIr::NumericInt(_, Numeric::IntRandom(_)) => return "int_random".into(),
        OperationIr::NumericInt(_, o) => ("int_", o),
        OperationIr::Int(o) => ("int_", o),
        OperationIr::BaseBool(o) => ("bool_", o),
        OperationIr::Bool(o) => ("bool_", o),
        OperationIr::Module(o) => ("", o),
        OperationIr::Activation(o) => ("", o),
        OperationIr::Distributed(o) => ("", o),
        OperationIr::Custom(o) => return o.id.clone(),
        OperationIr::Init(_) => return "init".into(),
        OperationIr::Drop(_) => return "drop".into(),
    };
    let mut variant = Variant(String::new());
    // It fails on purpose, after the name of the variant.
    let _ = write!(variant, "{operation:?}");
    format!("{kind}{}", snake(&variant.0))
}

/// Keeps the name of a variant from debug output, and stops the output there.
struct Variant(String);

impl Write for Variant {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        self.0.push_str(name);
        if name.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// `TopKWithIndices` to `top_k_with_indices`.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (at, letter) in letters.iter().enumerate() {
        if letter.is_uppercase() && at > 0 {
            let ends = !letters[at - 1].is_uppercase();
            let begins = at > 1 && letters.get(at + 1).is_some_and(|c| c.is_lowercase());
            if ends || begins {
                out.push('_');
            }
        }
        out.extend(letter.to_lowercase());
    }
    out
}
