//! The experiments, one file each.

pub mod hyper_cleaning;
