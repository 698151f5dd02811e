//! Devices that fail asynchronously.
//!
//! A device works on a thread of its own. An error there while nobody waits for it, such as a failed allocation, drops the
//! queued work without a report, and later reads return arbitrary contents. So panics of these threads are recorded, and
//! checked before a result counts.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::OnceLock;

use bilevel_program::device_failure;

use crate::backend::BackendError;
use crate::error::BenchError;

/// What the first failure of the process said.
static FIRST: OnceLock<String> = OnceLock::new();

/// How the threads of devices are called by CubeCL: `DSD-0-0` and the like.
const THREADS: &str = "DS";

/// Records panics on the threads of devices from now on. They are reported where they end something, not at once.
pub fn watch() {
    let others = take_hook();
    set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("it does not say why").trim_end();
        if std::thread::current().name().is_some_and(|name| name.starts_with(THREADS)) {
            tracing::debug!("a thread of the device panicked: {text}");
            FIRST.get_or_init(|| text.to_owned());
        } else if device_failure(panic.payload()).is_none() {
            others(panic);
        }
    }));
}

/// Whether no device has failed so far.
///
/// # Errors
/// If one has.
pub fn check() -> Result<(), BackendError> {
    FIRST.get().map_or(Ok(()), |text| Err(BackendError::Device(text.clone())))
}

/// What `work` gives, unless a device failed meanwhile.
///
/// # Errors
/// Those of `work`, and if a device failed.
pub fn caught<T>(work: impl FnOnce() -> Result<T, BenchError>) -> Result<T, BenchError> {
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        match device_failure(panic.as_ref()) {
            Some(text) => Err(BackendError::Device(text).into()),
            None => resume_unwind(panic),
        }
    });
    check()?;
    done
}
