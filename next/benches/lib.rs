//! Holds nothing: the benchmarks lie beside this file, and `cargo bench -p bilevel-benches` runs them.
