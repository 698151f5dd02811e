//! The progress of a run: a bar on a terminal, one line per minute if standard error is redirected, nothing if not
//! wanted.

use std::cell::Cell;
use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

/// The time between two lines if there is no terminal.
const MINUTE: Duration = Duration::from_secs(60);

static QUIET: AtomicBool = AtomicBool::new(false);

/// From here on nothing is shown.
pub fn hide() {
    QUIET.store(true, Ordering::Relaxed);
}

/// A line for the user.
pub fn note(line: impl std::fmt::Display) {
    if !QUIET.load(Ordering::Relaxed) {
        crate::say(line);
    }
}

/// The progress of something that is done in steps, or the fact that it is in progress.
pub struct Bar {
    bar: ProgressBar,
    /// If lines replace the bar: when the last one was written.
    lines: Option<Cell<Instant>>,
    /// Ends the lines of a phase without steps.
    ticking: Cell<Option<Sender<()>>>,
}

impl Bar {
    /// Progress is not shown.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), lines: None, ticking: Cell::default() }
    }

    /// A bar of `steps` steps with a name.
    pub fn new(name: &str, steps: usize) -> Self {
        let style = "{prefix:>8} {bar:30} {pos:>4}/{len:4} {elapsed:>4} ({left}) {msg}";
        Self::styled(ProgressBar::new(steps as u64), style, name)
    }

    /// Something that takes a while and has no steps, such as reading data.
    pub fn phase(name: &str, what: &str) -> Self {
        let bar = Self::styled(ProgressBar::new_spinner(), "{prefix:>8} {spinner} {msg}", name);
        bar.set_message(what.to_owned());
        if bar.lines.is_some() {
            let (ticking, stopped) = channel();
            let line = bar.line();
            std::thread::spawn(move || {
                while stopped.recv_timeout(MINUTE) == Err(RecvTimeoutError::Timeout) {
                    note(&line);
                }
            });
            bar.ticking.set(Some(ticking));
        }
        bar.bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    fn styled(bar: ProgressBar, template: &str, name: &str) -> Self {
        if QUIET.load(Ordering::Relaxed) {
            return Self::hidden();
        }
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.with_key("left", |state: &ProgressState, out: &mut dyn Write| {
            let _ = out.write_str(&left(state.per_sec(), state.eta()));
        }));
        bar.set_prefix(name.to_owned());
        let lines = (!std::io::stderr().is_terminal()).then(|| Cell::new(Instant::now()));
        Self { bar, lines, ticking: Cell::default() }
    }

    /// The text beside the bar.
    pub fn set_message(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// The number of earlier steps.
    pub fn set_position(&self, steps: u64) {
        self.bar.set_position(steps);
        self.bar.reset_eta();
    }

    /// Adds steps.
    pub fn inc(&self, steps: u64) {
        self.bar.inc(steps);
        let Some(last) = &self.lines else { return };
        if last.get().elapsed() >= MINUTE {
            last.set(Instant::now());
            note(self.line());
        }
    }

    fn line(&self) -> String {
        let (name, message) = (self.bar.prefix(), self.bar.message());
        let name = if name.is_empty() { name } else { format!("{name}: ") };
        let Some(steps) = self.bar.length() else { return format!("{name}{message}") };
        let (at, elapsed) = (self.bar.position(), HumanDuration(self.bar.elapsed()));
        let left = left(self.bar.per_sec(), self.bar.eta());
        let message = if message.is_empty() { message } else { format!(", {message}") };
        format!("{name}{at} of {steps} in {elapsed}, {left}{message}")
    }

    /// Finishes, and stays visible.
    pub fn finish(&self) {
        self.bar.finish();
    }

    /// Finishes, and disappears.
    pub fn clear(&self) {
        self.ticking.set(None);
        self.bar.finish_and_clear();
    }
}

/// The remaining time, if a rate is known.
fn left(rate: f64, eta: Duration) -> String {
    match rate > 0.0 {
        true => format!("{:#} left", HumanDuration(eta)),
        false => "estimating".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_claimed_before_a_rate_is_known() {
        assert_eq!(left(0.0, Duration::ZERO), "estimating");
        assert_eq!(left(f64::NAN, Duration::ZERO), "estimating");
        assert_eq!(left(0.5, Duration::from_secs(45)), "45s left");
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        let bar = Bar::new("rad", 150);
        bar.set_message("test accuracy 91.0 %");
        let line = bar.line();
        assert!(line.starts_with("rad: 0 of 150 in 0 seconds, estimating, test"), "{line}");
        assert_eq!(Bar::phase("cg", "preparing").line(), "cg: preparing");
    }
}
