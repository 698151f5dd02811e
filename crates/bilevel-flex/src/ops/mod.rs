//! The operations of Burn's backend traits: those of Flex, with a few exceptions.

use burn_flex::{FlexQTensor, FlexTensor};

type T = FlexTensor;
type Q = FlexQTensor;

/// Operations that are forwarded to Flex.
macro_rules! forward {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $out:ty;)*) => {
        $(fn $name($($arg: $ty),*) -> $out {
            burn_flex::Flex::$name($($arg),*)
        })*
    };
}

/// A function of one tensor for both element types, with Flex as the fallback.
macro_rules! one {
    ($tensor:expr, $f:expr, $flex:expr) => {{
        use crate::elementwise::unary;
        use burn::backend::DType;
        let tensor = $tensor;
        match tensor.dtype() {
            DType::F32 => unary::<f32>(tensor, $f, $flex),
            DType::F64 => unary::<f64>(tensor, $f, $flex),
            _ => $flex(tensor),
        }
    }};
}

/// Functions of two tensors.
macro_rules! two {
    ($($name:ident: $f:expr;)*) => {
        $(fn $name(a: T, b: T) -> T {
            use burn::backend::DType;
            use burn_flex::Flex;
            use crate::elementwise::binary;
            match a.dtype() {
                DType::F32 => binary::<f32>(a, b, $f, Flex::$name),
                DType::F64 => binary::<f64>(a, b, $f, Flex::$name),
                _ => Flex::$name(a, b),
            }
        })*
    };
}

/// Functions of a tensor and a scalar.
macro_rules! with_number {
    ($($name:ident: |$a:ident, $c:ident| $f:expr;)*) => {
        $(fn $name(tensor: T, number: Scalar) -> T {
            use burn::backend::DType;
            use crate::elementwise::unary;
            let flex = |tensor| burn_flex::Flex::$name(tensor, number);
            match tensor.dtype() {
                DType::F32 => {
                    // Through f64, as in Flex: an integer is rounded twice.
                    let $c = number.elem::<f64>() as f32;
                    unary::<f32>(tensor, |$a| $f, flex)
                }
                DType::F64 => {
                    let $c: f64 = number.elem();
                    unary::<f64>(tensor, |$a| $f, flex)
                }
                _ => flex(tensor),
            }
        })*
    };
}

/// Functions that have a kernel only for f32.
macro_rules! in_f32 {
    ($($name:ident: $f:path;)*) => {
        $(fn $name(tensor: T) -> T {
            crate::elementwise::unary::<f32>(tensor, $f, burn_flex::Flex::$name)
        })*
    };
}

mod activation;
mod bool;
mod float;
mod int;
mod module;
mod quantized;
