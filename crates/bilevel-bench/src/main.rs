//! `bilevel`: see `bilevel --help`.

use std::fs::File;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use bilevel_core::Group;
use clap::Parser;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use bilevel_bench::BenchError;
use bilevel_bench::cli::{Cli, MessageArgs, renamed};
use bilevel_bench::commands::execute;
use bilevel_bench::failure;
use bilevel_bench::memory::keep_free_pages;
use bilevel_bench::ranks::Ranks;
use bilevel_bench::say;

fn main() -> ExitCode {
    // SAFETY: no other thread has been started.
    #[allow(unsafe_code)]
    unsafe {
        keep_free_pages();
        // If it names no folder, the Vulkan loader complains about it on standard error.
        let there = std::env::var_os("XDG_RUNTIME_DIR");
        if !there.is_some_and(|folder| std::path::Path::new(&folder).is_dir()) {
            std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir());
        }
    }
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let Some(message) = renamed(&error) else { error.exit() };
        say(message);
        std::process::exit(2);
    });
    let ranks = match Ranks::join(&cli) {
        Ok(ranks) => ranks,
        Err(error) => {
            say(format_args!("error: {error}"));
            return ExitCode::from(error.exit_code());
        }
    };
    let code = on_rank(cli, ranks.group());
    ExitCode::from(ranks.end(code))
}

/// Runs the command line, and returns the exit code.
fn on_rank(cli: Cli, group: &'static dyn Group) -> u8 {
    let rank = group.rank();
    let devices = failure::watch();
    if let Err(error) = listen(&cli.messages, rank, devices) {
        say(format_args!("error: {error}"));
        return 2;
    }
    let Err(error) = failure::caught(|| execute(cli, group)) else { return 0 };
    tracing::debug!("{error}");
    match error {
        // All ranks report the same.
        _ if rank > 0 && error.is_common() => {}
        _ if rank > 0 => say(format_args!("rank {rank}: error: {error}")),
        BenchError::Interrupted { .. } => say(&error),
        _ => say(format_args!("error: {error}")),
    }
    error.exit_code()
}

/// Where messages go, besides `devices`. Our warnings are always shown; those of dependencies only on request.
fn listen(
    messages: &MessageArgs,
    rank: usize,
    devices: impl Layer<Registry> + Send + Sync,
) -> Result<(), String> {
    let shown = match messages {
        MessageArgs { quiet: true, .. } => "off",
        _ if rank > 0 => "error",
        MessageArgs { verbose: true, .. } => "error,bilevel_bench=debug,bilevel_core=debug",
        _ => "error,bilevel_bench=warn,bilevel_core::checkpoint=warn",
    };
    let filter = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_else(|_| shown.into());
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let terminal = fmt::layer()
        .with_writer(stderr)
        .with_ansi(colours)
        .without_time()
        .with_target(false)
        .log_internal_errors(false)
        .with_filter(EnvFilter::builder().parse_lossy(filter));
    let log = messages.log.as_ref().filter(|_| rank == 0).map(|path| {
        let file = File::options().create(true).append(true).open(path);
        file.map_err(|cause| format!("--log {}: {cause}; name another file", path.display()))
    });
    let log = log.transpose()?.map(|file| {
        let layer = fmt::layer().with_writer(file).with_ansi(false).log_internal_errors(false);
        layer.with_filter(EnvFilter::new("warn,bilevel_bench=debug,bilevel_core=debug"))
    });
    tracing_subscriber::registry().with(devices).with(terminal).with(log).init();
    let words: Vec<_> = std::env::args_os().collect();
    tracing::debug!(version = env!("CARGO_PKG_VERSION"), ?words);
    Ok(())
}
