//! The binary `bilevel`: experiments, data, reports and measurements.
//!
//! | module | what |
//! |---|---|
//! | [`cli`], [`commands`] | the command line, and what each command does |
//! | [`experiments`] | the experiments, one folder each |
//! | [`methods`] | the table of methods that all of them draw from |
//! | [`reproduce`] | the tables of papers, ours beside theirs |
//! | [`hypergrad`] | one hypergradient, timed |
//! | [`backend`] | the backends of this build, and which to take |
//! | [`toys`] | problems with known answers: what sources say, what we see |
//! | [`data`] | data sets, their readers, splits and label noise |
//! | [`report`] | what a run writes down: folder, table, curves |
//! | [`settings`] | checks of what the command line gives |
//! | [`memory`] | the peak memory of a phase |

pub mod backend;
pub mod cli;
pub mod commands;
pub mod compare;
pub mod data;
mod error;
pub mod experiments;
pub mod hypergrad;
pub mod memory;
pub mod methods;
pub mod report;
pub mod reproduce;
pub mod settings;
pub mod toys;

pub use error::BenchError;
