//! The operations of Burn's backend traits, each with its tangent rule.

mod activation;
mod bool;
mod float;
mod int;
mod module;
mod quantized;
