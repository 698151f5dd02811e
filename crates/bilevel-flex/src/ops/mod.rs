//! The operations of Burn's backend traits: those of Flex, but for a few.

use burn_flex::{FlexQTensor, FlexTensor};

type T = FlexTensor;
type Q = FlexQTensor;

/// Operations that Flex computes.
macro_rules! forward {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $out:ty;)*) => {
        $(fn $name($($arg: $ty),*) -> $out {
            burn_flex::Flex::$name($($arg),*)
        })*
    };
}

/// A function of one tensor that both element types have, or what Flex does.
macro_rules! one {
    ($tensor:expr, $f:expr, $flex:expr) => {{
        use crate::elementwise::{SMALL, unary};
        use burn::tensor::DType;
        let tensor = $tensor;
        let done = match tensor.dtype() {
            DType::F32 => unary::<f32>(tensor, SMALL, $f),
            DType::F64 => unary::<f64>(tensor, SMALL, $f),
            _ => Err(tensor),
        };
        done.unwrap_or_else($flex)
    }};
}

/// Functions of two tensors.
macro_rules! two {
    ($($name:ident: $f:expr;)*) => {
        $(fn $name(a: T, b: T) -> T {
            use burn::tensor::DType;
            use crate::elementwise::binary;
            let done = match a.dtype() {
                DType::F32 => binary::<f32>(a, b, $f),
                DType::F64 => binary::<f64>(a, b, $f),
                _ => Err((a, b)),
            };
            done.unwrap_or_else(|(a, b)| burn_flex::Flex::$name(a, b))
        })*
    };
}

/// Functions of a tensor and a number.
macro_rules! with_number {
    ($($name:ident: |$a:ident, $c:ident| $f:expr;)*) => {
        $(fn $name(tensor: T, number: Scalar) -> T {
            use burn::tensor::DType;
            use crate::elementwise::{SMALL, unary};
            let done = match tensor.dtype() {
                DType::F32 => {
                    // Through f64, as in Flex: an integer is rounded twice.
                    let $c = number.elem::<f64>() as f32;
                    unary::<f32>(tensor, SMALL, |$a| $f)
                }
                DType::F64 => {
                    let $c: f64 = number.elem();
                    unary::<f64>(tensor, SMALL, |$a| $f)
                }
                _ => Err(tensor),
            };
            done.unwrap_or_else(|tensor| burn_flex::Flex::$name(tensor, number))
        })*
    };
}

/// Comparisons with a number.
macro_rules! compare_with_number {
    ($($name:ident: |$a:ident, $c:ident| $f:expr;)*) => {
        $(fn $name(tensor: T, number: Scalar, out_dtype: BoolDType) -> T {
            use burn::tensor::DType;
            use crate::elementwise::predicate;
            let done = match tensor.dtype() {
                DType::F32 => {
                    // Through f64, as in Flex: an integer is rounded twice.
                    let $c = number.elem::<f64>() as f32;
                    predicate::<f32>(tensor, out_dtype.into(), |$a| $f)
                }
                DType::F64 => {
                    let $c: f64 = number.elem();
                    predicate::<f64>(tensor, out_dtype.into(), |$a| $f)
                }
                _ => Err(tensor),
            };
            done.unwrap_or_else(|tensor| burn_flex::Flex::$name(tensor, number, out_dtype))
        })*
    };
}

/// Functions that have a kernel for f32 alone.
macro_rules! in_f32 {
    ($($name:ident: $f:path;)*) => {
        $(fn $name(tensor: T) -> T {
            crate::elementwise::unary::<f32>(tensor, 64, $f).unwrap_or_else(burn_flex::Flex::$name)
        })*
    };
}

mod activation;
mod bool;
mod float;
mod int;
mod module;
mod quantized;
