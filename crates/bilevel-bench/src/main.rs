//! `bilevel`: see `bilevel --help`.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use bilevel_bench::cli::Cli;
use bilevel_bench::commands::execute;
use bilevel_bench::memory::keep_free_pages;

fn main() -> ExitCode {
    // SAFETY: no other thread has been started.
    #[allow(unsafe_code)]
    unsafe {
        keep_free_pages();
    }
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
