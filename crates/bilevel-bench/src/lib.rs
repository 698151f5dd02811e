//! The binary `bilevel`: experiments, data, reports and measurements.
//!
//! | module | what |
//! |---|---|
//! | [`cli`], [`commands`] | the command line, and what each command does |
//! | [`experiments`] | the experiments, one folder each |
//! | [`reproduce`] | the tables of papers, ours beside theirs |
//! | [`failure`] | devices that fail behind the calls |
//! | [`hypergrad`] | one hypergradient, timed |
//! | [`backend`] | the backends of this build, and which to take |
//! | [`mod@solve`] | small problems in formulas, solved without a setting |
//! | [`toys`] | problems with known answers: what sources say, what we see |
//! | [`report`] | what a run writes down: folder, table, curves |
//! | [`runs`] | runs that are there: listed, compared, shown |
//! | [`settings`] | from defaults, files and flags to checked settings |
//! | [`progress`] | how far a run is |
//! | [`interrupt`] | Ctrl-C and its like |
//! | [`ranks`] | processes that make one run together |
//! | [`memory`] | the peak memory of a phase |

pub mod backend;
pub mod cli;
pub mod commands;
pub mod compare;
mod error;
pub mod experiments;
pub mod failure;
pub mod hypergrad;
pub mod interrupt;
pub mod memory;
pub mod progress;
pub mod ranks;
pub mod report;
pub mod reproduce;
pub mod runs;
pub mod settings;
pub mod solve;
pub mod toys;

pub use error::BenchError;

/// Writes a line to standard error. One that cannot be written, as to a pipe that nobody reads any more, is no reason
/// to end in another way.
pub fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
