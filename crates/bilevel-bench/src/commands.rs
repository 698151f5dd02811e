//! The commands: from arguments to printed results.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Subcommand, ValueEnum};

use crate::backend::{self, BackendName};
use crate::cli::{
    CheckedExperiment, Cli, Command, Common, CompareArgs, Experiment, HyperCleaningCheckArgs,
    HypergradArgs, MannerArgs, ReproduceArgs, ResumeArgs, ToysArgs,
};
use crate::error::BenchError;
use crate::experiments::{self, Manner, hpo, hyper_cleaning, importance, poisoning, robust};
use crate::hypergrad;
use crate::report::folder::{RunFolder, summary_json};
use crate::report::{ReportError, RunReport, table};
use crate::reproduce::{self, Reproduction};
use crate::settings::absolute;

/// Does what the command line says. Results go to standard output, progress to standard error.
///
/// # Errors
/// See [`BenchError`].
pub fn execute(cli: Cli) -> Result<(), BenchError> {
    match cli.command {
        None => run(&Experiment::HyperCleaning(Box::default())),
        Some(Command::Run(experiment)) => run(&experiment),
        Some(Command::Reproduce(args)) => reproduce(args),
        Some(Command::Resume(args)) => resume(&args),
        Some(Command::Check(CheckedExperiment::HyperCleaning(args))) => check_hyper_cleaning(args),
        Some(Command::Toys(args)) => toys(&args),
        Some(Command::Compare(args)) => compare(args),
        Some(Command::Hypergrad(args)) => hypergrad(args),
        Some(Command::Program(args)) => print(&hypergrad::program(&args)?),
        Some(Command::List) => print(&list()),
        Some(Command::Doctor) => print(&doctor()),
    }
}

fn run(experiment: &Experiment) -> Result<(), BenchError> {
    let common = experiment.common();
    let root = common.out.as_deref().unwrap_or(Path::new("runs"));
    let settings = experiment.settings()?;
    let (folder, report) = experiments::start(&settings, root, manner(common.manner))?;
    show(&folder, &report, common.manner.json)
}

fn reproduce(args: ReproduceArgs) -> Result<(), BenchError> {
    // As the settings of a run: to be gone on with from anywhere.
    let data_dir = args.data_dir.map(|dir| absolute("--data-dir", &dir)).transpose()?;
    let reproduction = Reproduction {
        reproduce: args.table,
        preset: args.preset,
        seeds: args.seeds,
        data_dir,
        backend: args.backend.unwrap_or(BackendName::Auto).resolve()?,
    };
    reproduction.check_data()?;
    let root = args.out.as_deref().unwrap_or(Path::new("runs"));
    let folder = RunFolder::create(root, &reproduction.reproduce.name())?;
    folder.write_settings(&reproduction)?;
    fill(&reproduction, &folder, args.manner)
}

fn fill(
    reproduction: &Reproduction,
    folder: &RunFolder,
    args: MannerArgs,
) -> Result<(), BenchError> {
    let reproduced = reproduce::fill(reproduction, folder, manner(args))?;
    if args.json {
        return print(&reproduced.json()?);
    }
    let path = folder.path().display();
    print(&format!("{}\nResults: {path}\n", reproduce::text(&reproduced)))
}

fn resume(args: &ResumeArgs) -> Result<(), BenchError> {
    let folder = RunFolder::open(&args.folder)?;
    if folder.settings::<toml::Table>()?.contains_key("reproduce") {
        return fill(&folder.settings()?, &folder, args.manner);
    }
    let report = experiments::resume(&folder, manner(args.manner))?;
    show(&folder, &report, args.manner.json)
}

fn manner(args: MannerArgs) -> Manner {
    let save_every = Duration::from_secs(args.save_every.unwrap_or(30).into());
    Manner { progress: !args.json, save_every }
}

fn show(folder: &RunFolder, report: &RunReport, json: bool) -> Result<(), BenchError> {
    if json {
        print(&format!("{}\n", summary_json(report)?))?;
    } else {
        let path = folder.path().display();
        print(&format!("{}\n\nResults: {path}\n", table::render(report)))?;
    }
    let failed = report.methods.iter().filter(|method| !method.ok);
    let methods: Vec<_> = failed.map(|method| method.name.clone()).collect();
    if methods.is_empty() {
        return Ok(());
    }
    Err(BenchError::Methods { methods, summary: folder.path().join("summary.json") })
}

/// Derivatives do not change with the number of samples, the time of a check does.
const CHECKED_SAMPLES: usize = 50;

fn check_hyper_cleaning(args: HyperCleaningCheckArgs) -> Result<(), BenchError> {
    let settings = hyper_cleaning::Settings::new(&hyper_cleaning::Args {
        model: args.model,
        train: Some(CHECKED_SAMPLES),
        validation: Some(CHECKED_SAMPLES),
        common: Common {
            data_dir: args.data_dir,
            backend: Some(BackendName::Flex),
            ..Common::default()
        },
        ..hyper_cleaning::Args::default()
    })?;
    let reports = hyper_cleaning::prepare(settings)?.check()?;
    for (level, report) in &reports {
        print(&format!("The {level} loss, in x and y together\n\n{report}\n"))?;
    }
    let wrong = reports.iter().filter(|(_, report)| !report.is_ok());
    let losses: Vec<_> = wrong.map(|(level, _)| level.to_string()).collect();
    if losses.is_empty() {
        return print("Every derivative is that of its loss.\n");
    }
    Err(BenchError::Derivatives { losses })
}

fn toys(args: &ToysArgs) -> Result<(), BenchError> {
    let root = args.out.as_deref().unwrap_or(Path::new("runs"));
    let (findings, folder) = crate::toys::run(args.problem.as_deref(), root)?;
    let path = folder.path().display();
    print(&format!("{}\n\nTable and figures: {path}\n", crate::toys::table(&findings.claims)))
}

fn compare(args: CompareArgs) -> Result<(), BenchError> {
    use crate::compare::{ProblemName, Settings, compare};
    use crate::report::comparison;

    let mut methods = args.methods;
    methods.retain(|name| name != "all");
    let calls = match args.problem {
        ProblemName::Quadratic => 32_768,
        ProblemName::Ijcnn1 => 65_536,
    };
    let settings = Settings {
        problem: args.problem,
        methods,
        seeds: args.seeds.unwrap_or(10),
        calls: args.calls.unwrap_or(calls),
        data_dir: args.data_dir,
    };
    let device = crate::backend::flex_in_f64()?;
    let root = args.out.as_deref().unwrap_or(Path::new("runs"));
    let folder = RunFolder::create(root, &format!("compare-{}", args.problem.as_str()))?;
    let compared = compare(&settings, &device, true)?;
    comparison::write(&settings, &compared, &folder)?;
    let path = folder.path().display();
    print(&format!("{}\nMarks and figures: {path}\n", comparison::table(&compared)))
}

fn hypergrad(args: HypergradArgs) -> Result<(), BenchError> {
    let json = args.json;
    let report = hypergrad::run(&hypergrad::Settings::new(args)?)?;
    if json { print(&format!("{}\n", report.json()?)) } else { print(&report.table()) }
}

/// Prints results. A reader that has gone away, as `head` does, is no error.
fn print(text: &str) -> Result<(), BenchError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(ReportError::Write { path: "standard output".into(), cause }.into())
        }
        _ => Ok(()),
    }
}

fn list() -> String {
    let mut text = String::from("Experiments\n");
    for experiment in Experiment::augment_subcommands(clap::Command::new("run")).get_subcommands() {
        let about = experiment.get_about().map(ToString::to_string).unwrap_or_default();
        text += &format!("  {:<16} {about}\n", experiment.get_name());
    }
    text += "\nMethods of hyper-cleaning\n";
    for method in hyper_cleaning::Method::all() {
        text += &format!("  {:<16} {}\n", method.name(), method.describe());
    }
    text += "\nMethods of importance\n";
    text += &described(importance::Method::value_variants());
    text += "\nMethods of poisoning\n";
    text += &described(poisoning::Method::value_variants());
    text += "\nMethods of mwn and mlc\n";
    for method in robust::Method::value_variants() {
        let name = method.to_possible_value().map(|value| value.get_name().to_owned());
        text += &format!("  {:<16} {}\n", name.unwrap_or_default(), method.describe());
    }
    text += "\nMethods of hpo\n";
    for method in hpo::Method::all() {
        text += &format!("  {:<16} {}\n", method.name(), method.describe());
    }
    text
}

/// Values of a flag, each with its help.
fn described(values: &[impl ValueEnum]) -> String {
    let values = values.iter().filter_map(ValueEnum::to_possible_value);
    let line = |value: PossibleValue| {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        format!("  {:<16} {help}\n", value.get_name())
    };
    values.map(line).collect()
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
