//! Checks of numbers that the command line gives, with the flag in the error.

use std::path::{Path, PathBuf};

use crate::error::BenchError;

/// Counts are at least 1.
///
/// # Errors
/// The first that is not.
pub fn check_counts(counts: &[(&'static str, usize)]) -> Result<(), BenchError> {
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((setting, _)) => Err(refuse(setting, 0, "at least 1", "give a positive count")),
        None => Ok(()),
    }
}

/// Numbers are finite and above 0.
///
/// # Errors
/// The first that is not.
pub fn check_positive(numbers: &[(&'static str, f64)]) -> Result<(), BenchError> {
    match numbers.iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
        Some((setting, value)) => {
            Err(refuse(setting, value, "a finite number above 0", "give a positive value"))
        }
        None => Ok(()),
    }
}

/// A number that is finite and not below 0.
///
/// # Errors
/// If it is not.
pub fn check_not_negative(
    setting: &'static str,
    value: f64,
    cure: &'static str,
) -> Result<(), BenchError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(refuse(setting, value, "a finite number of at least 0", cure))
}

/// A share in `[0, 1)`.
///
/// # Errors
/// If it is not.
pub fn check_share(
    setting: &'static str,
    value: f64,
    cure: &'static str,
) -> Result<(), BenchError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(refuse(setting, value, "a share in [0, 1)", cure))
}

/// A path that means the same from every folder.
///
/// # Errors
/// If it is empty.
pub fn absolute(setting: &'static str, path: &Path) -> Result<PathBuf, BenchError> {
    std::path::absolute(path)
        .map_err(|cause| refuse(setting, cause, "a path", "name a file or a folder"))
}

/// A setting that cannot be.
pub fn refuse(
    setting: &'static str,
    found: impl ToString,
    expected: &str,
    cure: &'static str,
) -> BenchError {
    BenchError::Setting { setting, found: found.to_string(), expected: expected.into(), cure }
}
