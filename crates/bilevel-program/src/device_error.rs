//! Errors of a device, which come later than their cause.
//!
//! A device works asynchronously: an error surfaces when a number is read, as a panic of the reading thread, which is
//! recognised by how its message begins.

use std::any::Any;

/// How such panics begin: those of [`float::read`](crate::float::read), of Burn's own reads, and those that the driver's
/// interface raises in any other call.
const MARKS: [&str; 4] =
    ["the device failed", "Error while reading data", "Failed to read tensor", "wgpu error"];

/// What a panic says, if it says anything.
pub(crate) fn text(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
}

/// What a panic says if it is that of a device that failed: one that ran out of memory, was lost, or was asked for what it
/// cannot do. The solvers of `bilevel-core` make an error of it.
pub fn device_failure(panic: &(dyn Any + Send)) -> Option<String> {
    let text = text(panic)?;
    MARKS.iter().any(|mark| text.starts_with(mark)).then(|| text.trim_end().to_owned())
}
