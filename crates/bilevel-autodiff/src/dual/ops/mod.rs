//! The operations of Burn's backend traits, each with its tangent rule.

/// Operations without tangents: forwarded to `B`, which may override the default.
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
