//! Devices that fail asynchronously.
//!
//! CubeCL works on threads of its own and catches their panics. That of work which somebody waits for is handed to who
//! waits: to this library, which ends, or to autotune, which tries another kernel. That of work which nobody waits for,
//! such as a failed allocation, drops the work and is only logged; later reads return arbitrary contents. So such lines
//! of the log are recorded, and checked before a result counts.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::{Mutex, OnceLock, PoisonError};

use bilevel_program::device_failure;
use tracing::Event;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::{Layer, Registry};

use crate::backend::BackendError;
use crate::error::BenchError;

/// What the first work that was lost said.
static LOST: OnceLock<String> = OnceLock::new();

/// What the last panic on a thread of a device said.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// How the threads of devices are called by CubeCL: `DSD-0-0` and the like.
const THREADS: &str = "DS";

/// Where CubeCL logs the panics that it catches, and how the lines about work that nobody waited for begin.
const LOG: (&str, &str) = ("cubecl_common::device", "CallError");

/// Watches the devices from now on: panics on their threads are told where they end something, not at once. The layer
/// must be one of the subscriber of the process.
pub fn watch() -> impl Layer<Registry> + Send + Sync {
    let others = take_hook();
    set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with(THREADS)) {
            let text = panic.payload_as_str().unwrap_or("it does not say why").trim_end();
            tracing::debug!("a thread of the device panicked: {text}");
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
        } else if of_device(panic.payload()).is_none() {
            others(panic);
        }
    }));
    let of_devices = filter_fn(|line| line.target().starts_with(LOG.0));
    Log.with_filter(of_devices.with_max_level_hint(LevelFilter::WARN))
}

/// Reads what CubeCL logs about its threads.
struct Log;

impl Layer<Registry> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, Registry>) {
        event.record(&mut Line);
    }
}

struct Line;

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" && text.starts_with(LOG.1) {
            LOST.get_or_init(|| last().unwrap_or(text));
        }
    }
}

fn last() -> Option<String> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What a panic says if a device is at fault: it failed, or its thread panicked first.
fn of_device(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    let handed_on = || last().filter(|last| !last.is_empty() && text.contains(last.as_str()));
    LOST.get().cloned().or_else(|| device_failure(panic)).or_else(handed_on)
}

/// Whether no device has lost work so far.
///
/// # Errors
/// If one has.
pub fn check() -> Result<(), BackendError> {
    LOST.get().map_or(Ok(()), |text| Err(BackendError::Device(text.clone())))
}

/// What `work` gives, unless a device failed meanwhile.
///
/// # Errors
/// Those of `work`, and if a device failed.
pub fn caught<T>(work: impl FnOnce() -> Result<T, BenchError>) -> Result<T, BenchError> {
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        match of_device(panic.as_ref()) {
            Some(text) => Err(BackendError::Device(text).into()),
            None => resume_unwind(panic),
        }
    });
    check()?;
    done
}
