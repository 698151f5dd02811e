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

mod activation;
mod bool;
mod float;
mod int;
mod module;
mod quantized;
