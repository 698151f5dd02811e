//! Data and measurements of the binary `bilevel`.
//!
//! | module | what |
//! |---|---|
//! | [`data`] | data sets, their readers, splits and label noise |
//! | [`memory`] | the peak memory of a phase |

pub mod data;
pub mod memory;
