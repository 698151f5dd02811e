//! The binary `bilevel`: experiments, data, reports and measurements.
//!
//! | module | what |
//! |---|---|
//! | [`cli`], [`commands`] | the command line, and what each command does |
//! | [`experiments`] | the experiments, one folder each |
//! | [`reproduce`] | the tables of papers, with our figures beside them |
//! | [`failure`] | devices that fail after a call returned |
//! | [`hypergrad`] | one hypergradient, timed |
//! | [`backend`] | the backends of this build, and which to use |
//! | [`mod@solve`] | small problems given by formulas, solved without settings |
//! | [`toys`] | problems with known answers: the claims of their sources, and our results |
//! | [`report`] | the output of a run: folder, table, curves |
//! | [`runs`] | existing runs: listed, compared, shown |
//! | [`settings`] | from defaults, files and flags to checked settings |
//! | [`progress`] | the progress of a run |
//! | [`interrupt`] | Ctrl-C and other signals |
//! | [`ranks`] | processes that share one run |
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

/// Writes a line to standard error. If that fails, as on a closed pipe, the program continues.
pub fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
