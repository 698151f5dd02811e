//! Ctrl-C, SIGTERM and SIGHUP: the state is saved before the process ends.
//!
//! A run finishes its step, writes a checkpoint and ends with [`BenchError::Interrupted`]; a second signal ends it at
//! once. A signal that the parent process has set to be ignored, as `nohup` does, stays ignored. On systems without
//! these signals Ctrl-C ends at once, and the last checkpoint is kept.
//!
//! [`BenchError::Interrupted`]: crate::BenchError::Interrupted

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The signal assumed if another process of the run received one: SIGTERM.
pub(crate) const OF_ANOTHER: i32 = 15;

/// The signal received; 0 before.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// The signal that requests the end of the process, if one was received.
pub fn asked() -> Option<i32> {
    Some(SIGNAL.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// What a signal that ends the process at once says; none if the first one is handled by the caller of [`asked`].
static WORDS: Mutex<Option<String>> = Mutex::new(None);

/// From here on the first signal is handled by the caller of [`asked`], after a step; the second ends the process.
pub fn after_step() {
    answer_with(None);
}

/// From here on a signal ends the process at once, with this message.
pub fn at_once(words: String) {
    answer_with(Some(words));
}

fn answer_with(words: Option<String>) {
    let set = || WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    *set() = words;
    answer(move |signal| {
        if let Some(words) = &*set() {
            crate::say(words);
            end(signal);
        }
        if SIGNAL.swap(signal, Ordering::Relaxed) != 0 {
            end(signal);
        }
        crate::say("finishing the step and writing a checkpoint; a second Ctrl-C ends at once");
    });
}

fn end(signal: i32) {
    std::process::exit(i32::from(code(signal)));
}

/// The exit code of a process ended by a signal, by the shell's convention.
pub(crate) fn code(signal: i32) -> u8 {
    128 + signal as u8
}

/// Passes each signal to `to`, on a separate thread; only the first call in a process starts it.
#[cfg(unix)]
fn answer(mut to: impl FnMut(i32) + Send + 'static) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use std::sync::Once;

    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        let ignored = ignored();
        let caught = [SIGINT, SIGTERM, SIGHUP].into_iter();
        let caught = caught.filter(|signal| ignored & (1 << (signal - 1)) == 0);
        match signal_hook::iterator::Signals::new(caught) {
            Ok(mut signals) => {
                std::thread::spawn(move || signals.forever().for_each(&mut to));
            }
            Err(error) => tracing::warn!("signals end the process at once: {error}"),
        }
    });
}

#[cfg(not(unix))]
fn answer(_: impl FnMut(i32) + Send + 'static) {}

/// The ignored signals, one bit each from the lowest on, as Linux reports them.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
