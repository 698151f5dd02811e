//! Of Burn what `bilevel-flex/src/gemm.rs` names, a marker of its element types: so its `unsafe` code is fuzzed in a
//! binary that builds in a minute.

/// As in Burn.
pub mod backend {
    /// An element type.
    pub trait Element {}

    impl Element for f32 {}
    impl Element for f64 {}
}
