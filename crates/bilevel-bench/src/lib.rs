//! Data, reports and measurements of the binary `bilevel`.
//!
//! | module | what |
//! |---|---|
//! | [`data`] | data sets, their readers, splits and label noise |
//! | [`report`] | what a run writes down: folder, table, curves |
//! | [`memory`] | the peak memory of a phase |

pub mod data;
pub mod memory;
pub mod report;
