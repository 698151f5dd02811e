//! The operations of Burn's backend traits, each with its tangent rule.

/// Operations that no tangent can reach: `B` computes them, by its own override where it has one.
macro_rules! forward {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $out:ty;)*) => {
        $(fn $name($($arg: $ty),*) -> $out {
            B::$name($($arg),*)
        })*
    };
}

mod activation;
mod bool;
mod float;
mod int;
mod module;
mod quantized;
