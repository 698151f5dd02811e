//! Devices that fail asynchronously.
//!
//! CubeCL works on threads of its own and catches their panics. That of work which somebody waits for is handed to who
//! waits: to this library, which ends, or to autotune, which tries another kernel. That of work which nobody waits for,
//! such as a failed allocation, drops the work and is only logged; later reads return arbitrary contents. So such lines
//! of the log are recorded, and checked before a result counts.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bilevel_data::table::READER;
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

/// What panics on threads of devices said, each until it is told or another panic says the same.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// How the threads of devices are called by CubeCL: `DSD-0-0` and the like.
const THREADS: &str = "DS";

/// Where CubeCL logs the panics that it catches.
const LOG: &str = "cubecl_common::device";

/// How CubeCL writes a panic that it caught. Lines of its log that begin so are about work that nobody waited for.
const CAUGHT: &str = "CallError(";

/// What follows, and then what the panic said, if it was text.
const PANICKED: &str = "task panicked on device runner thread";

/// What is told of a panic that is not text.
const SILENT: &str = "it does not say why";

/// Watches the devices from now on: panics on their threads are told where they end something, not at once. The layer
/// must be one of the subscriber of the process.
pub fn watch() -> impl Layer<Registry> + Send + Sync {
    let others = take_hook();
    set_hook(Box::new(move |panic| {
        let said = text(panic.payload());
        let thread = std::thread::current();
        if thread.name() == Some(READER) {
            tracing::debug!("a reader panicked, which becomes an error: {said}");
            return;
        }
        if thread.name().is_some_and(|name| name.starts_with(THREADS)) {
            tracing::debug!("a thread of the device panicked: {said}");
            all_said().insert(said.to_owned());
            return;
        }
        // A panic that is handed on does not come by here: this one is another, though it may say the same.
        all_said().remove(said);
        if of_device(panic.payload()).is_none() {
            others(panic);
        }
    }));
    let of_devices = filter_fn(|line| line.target().starts_with(LOG));
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
        let line = format!("{value:?}");
        if field.name() == "message" && line.starts_with(CAUGHT) {
            LOST.get_or_init(|| caught_by_cubecl(&line).unwrap_or(&line).to_owned());
        }
    }
}

fn all_said() -> MutexGuard<'static, BTreeSet<String>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a panic says: nothing, if it is not text.
fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// What a panic that CubeCL caught says, where a text quotes it.
fn caught_by_cubecl(text: &str) -> Option<&str> {
    let (_, said) = text.split_once(CAUGHT)?;
    let said = said.trim_end().strip_suffix(')').unwrap_or(said);
    Some(match said.strip_prefix(PANICKED) {
        Some(said) => said.strip_prefix(": ").map_or(SILENT, str::trim_end),
        None => said,
    })
}

/// What a panic says if a device is at fault: it failed, or its thread panicked first.
fn of_device(panic: &(dyn Any + Send)) -> Option<String> {
    let said = text(panic);
    let handed_on = || {
        let said = all_said().take(said)?;
        Some(if said.is_empty() { SILENT.into() } else { said })
    };
    let quoted = || caught_by_cubecl(said).map(str::to_owned);
    LOST.get().cloned().or_else(|| device_failure(panic)).or_else(quoted).or_else(handed_on)
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
