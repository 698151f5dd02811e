//! The commands: from arguments to printed results.

use std::path::Path;

use clap::ValueEnum;

use crate::backend;
use crate::cli::{Cli, Command, Experiment, HyperCleaningArgs};
use crate::error::BenchError;
use crate::experiments::hyper_cleaning::{self, MethodName, Settings};
use crate::report::folder::{RunFolder, default_name, summary_json};
use crate::report::table;

/// Does what the command line says. Results go to standard output, progress to standard error.
///
/// # Errors
/// See [`BenchError`].
pub fn execute(cli: Cli) -> Result<(), BenchError> {
    match cli.command {
        None => hyper_cleaning(&HyperCleaningArgs::default()),
        Some(Command::Run(Experiment::HyperCleaning(args))) => hyper_cleaning(&args),
        Some(Command::List) => {
            print!("{}", list());
            Ok(())
        }
        Some(Command::Doctor) => {
            print!("{}", doctor());
            Ok(())
        }
    }
}

fn hyper_cleaning(args: &HyperCleaningArgs) -> Result<(), BenchError> {
    let settings = Settings::new(args)?;
    let report = hyper_cleaning::run(&settings, !args.json)?;
    let root = args.out.as_deref().unwrap_or(Path::new("runs"));
    let folder = RunFolder::create(root, &default_name(&report.experiment, report.seed))?;
    folder.write(&report)?;
    if args.json {
        println!("{}", summary_json(&report)?);
    } else {
        println!("{}\n\nResults: {}", table::render(&report), folder.path().display());
    }
    let failed = report.methods.iter().filter(|method| !method.ok);
    let methods: Vec<_> = failed.map(|method| method.name.clone()).collect();
    if methods.is_empty() {
        return Ok(());
    }
    Err(BenchError::Methods { methods, summary: folder.path().join("summary.json") })
}

fn list() -> String {
    let mut text = String::from(
        "Experiments\n  hyper-cleaning   find the wrong labels of a training set\n\nMethods\n",
    );
    for method in MethodName::value_variants() {
        text += &format!("  {:<16} {}\n", method.as_str(), method.describe());
    }
    text
}

fn doctor() -> String {
    let mut text = String::from("Backends in this build\n");
    let adapters = backend::adapters();
    for name in backend::built() {
        let state = match (name, adapters.is_empty()) {
            ("wgpu", true) => "no graphics adapter: install a driver for Vulkan, Metal or DX12",
            _ => "ready",
        };
        text += &format!("  {name:<8} {state}\n");
    }
    if !adapters.is_empty() {
        text += "\nGraphics adapters\n";
    }
    for adapter in &adapters {
        let real = if adapter.gpu { "" } else { " (not a GPU)" };
        text += &format!("  {} - {}, {}{real}\n", adapter.name, adapter.interface, adapter.kind);
    }
    let (name, reason) = backend::pick();
    text += &format!("\n--backend auto picks {}: {reason}\n", name.as_str());
    text
}
