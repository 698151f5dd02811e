//! Empty: the benchmarks are beside this file, and `cargo bench -p bilevel-benches` runs them.
