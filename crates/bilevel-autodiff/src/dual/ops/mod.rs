//! The operations of Burn's backend traits, each with its tangent rule.

mod activation;
mod float;
