//! `bilevel`: see `bilevel --help`.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use bilevel_bench::BenchError;
use bilevel_bench::cli::{Cli, renamed};
use bilevel_bench::commands::execute;
use bilevel_bench::memory::keep_free_pages;
use bilevel_bench::say;

fn main() -> ExitCode {
    // SAFETY: no other thread has been started.
    #[allow(unsafe_code)]
    unsafe {
        keep_free_pages();
    }
    // Warnings of ours are for whoever runs it; those of others only where they are asked for.
    let filter = std::env::var(EnvFilter::DEFAULT_ENV);
    let filter = filter.unwrap_or_else(|_| "error,bilevel_bench=warn".into());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse_lossy(filter))
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .init();
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        let Some(message) = renamed(&error) else { error.exit() };
        say(message);
        std::process::exit(2);
    });
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error {
                BenchError::Interrupted { .. } => say(&error),
                _ => say(format_args!("error: {error}")),
            }
            ExitCode::from(error.exit_code())
        }
    }
}
