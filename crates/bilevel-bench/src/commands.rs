//! The commands: from arguments to printed results.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use bilevel_core::catalogue::{self, Family};
use bilevel_core::{Alone, Group};
use clap::CommandFactory;
use toml::Table;

use crate::backend::{self, Adapter};
use crate::cli::{
    CheckArgs, Cli, Command, CompareArgs, CompletionsArgs, DiffArgs, HypergradArgs, MannerArgs,
    OfExperiment, ReproduceArgs, ResumeArgs, RunArgs, ToysArgs,
};
use crate::error::BenchError;
use crate::experiments::{self, Complete, EXPERIMENTS, Manner, seeds};
use crate::hypergrad;
use crate::interrupt;
use crate::progress;
use crate::report::folder::{RunFolder, settings_toml, summary_json};
use crate::report::page::PAGE;
use crate::report::seeds::Together;
use crate::report::{ReportError, RunReport, table};
use crate::reproduce::{self, Reproduction};
use crate::runs;
use crate::settings::{AUTO, absolute, refuse};

/// The experiment that runs without a command.
pub const DEFAULT: [&str; 3] = ["bilevel", "run", "hyper-cleaning"];

/// Runs the command line, with the other ranks of `group`. Results go to standard output, progress to standard error.
///
/// # Errors
/// See [`BenchError`].
pub fn execute(cli: Cli, group: &'static dyn Group) -> Result<(), BenchError> {
    if cli.messages.quiet || group.rank() > 0 {
        progress::hide();
    }
    match cli.command {
        None => {
            let settings = Complete::given(DEFAULT[2], &Table::new())?;
            let args = MannerArgs { json: false, save_every: 30 };
            start(&settings, "runs".as_ref(), args, group)
        }
        Some(Command::Run(run)) => self::run(&run, group),
        Some(Command::Clean(on)) => self::run(&on.run, group),
        Some(Command::Tune(on)) => self::run(&on.run, group),
        Some(Command::Reproduce(args)) => reproduce(args),
        Some(Command::Resume(args)) if group.size() > 1 => {
            let manner = Manner { ranks: group, ..resuming(&args) };
            let (folder, report) = experiments::resume_on_ranks(&args.folder, manner)?;
            show(&folder, &report, args.manner.json, group)
        }
        Some(Command::Resume(args)) => resume(&args),
        Some(Command::Report(args)) => report(&args.folders),
        Some(Command::Diff(args)) => diff(&args),
        Some(Command::Runs(args)) => print(&runs::list(&args.folder, table::terminal_width())?),
        Some(Command::Check(check)) => self::check(&check),
        Some(Command::Toys(args)) => toys(&args),
        Some(Command::Solve(args)) => print(&match &args.problem {
            Some(problem) => crate::solve::solve(problem, args.pessimistic)?,
            None => crate::solve::known()?,
        }),
        Some(Command::Compare(args)) => compare(args),
        Some(Command::Hypergrad(args)) => hypergrad(args),
        Some(Command::Program(args)) => print(&hypergrad::program(&args)?),
        Some(Command::List) => print(&list()),
        Some(Command::Doctor) => print(&doctor()),
        Some(Command::Completions(args)) => completions(args),
        Some(Command::Man(args)) => man(&args.folder),
    }
}

fn run(run: &OfExperiment<RunArgs>, group: &'static dyn Group) -> Result<(), BenchError> {
    let RunArgs { config, dry_run, seeds, out, manner: args } = &run.args;
    let settings = run.settings(config.as_ref())?;
    if *dry_run {
        return print(&settings_toml(&settings.table())?);
    }
    let settings = if settings.is_open() { chosen(&settings, group)? } else { settings };
    if *seeds > 1 && group.size() > 1 {
        let cure = "make one run after the other; seeds run side by side without --shards";
        return Err(refuse("--seeds", seeds, "1 where ranks divide the data", cure));
    }
    if *seeds > 1 {
        let (folder, together) = seeds::start(&settings, *seeds, out, manner(*args))?;
        return show_seeds(&folder, &together, args.json);
    }
    start(&settings, out, *args, group)
}

/// What a signal says before a run begins.
const UNTOUCHED: &str = "interrupted before the first step: there is no result; start it again";

/// The settings with the choice in place of `auto`, which is printed.
fn chosen(settings: &Complete, group: &dyn Group) -> Result<Complete, BenchError> {
    if group.size() > 1 {
        let cure = "run `bilevel run` with auto in one process, and name the method that it prints";
        return Err(refuse(
            "--method or --step-size",
            AUTO,
            "a method and a number on ranks",
            cure,
        ));
    }
    interrupt::at_once(UNTOUCHED.into());
    progress::note("auto: measuring the problem");
    let (settings, text) = settings.chosen()?;
    progress::note(format!("{text}\n"));
    Ok(settings)
}

fn start(
    settings: &Complete,
    out: &Path,
    args: MannerArgs,
    group: &'static dyn Group,
) -> Result<(), BenchError> {
    let manner = Manner { ranks: group, ..manner(args) };
    let (folder, report) = experiments::start(settings, out, manner)?;
    show(&folder, &report, args.json, group)
}

fn reproduce(args: ReproduceArgs) -> Result<(), BenchError> {
    // As in the settings of a run: it can be resumed from any directory.
    let data_dir = args.data_dir.map(|dir| absolute("--data-dir", &dir)).transpose()?;
    let reproduction = Reproduction {
        reproduce: args.table,
        preset: args.preset,
        seeds: args.seeds,
        data_dir,
        data_set: args.data_set,
        upper_steps: args.upper_steps,
        device: args.device.resolve()?,
        made_by: None,
    };
    reproduction.check_data()?;
    let reproduction = reproduction.made_here(manner(args.manner))?;
    let folder = RunFolder::create(&args.out, &reproduction.reproduce.name())?;
    folder.write_settings(&reproduction)?;
    fill(&reproduction, &folder, manner(args.manner), args.manner.json)
}

fn fill(
    reproduction: &Reproduction,
    folder: &RunFolder,
    manner: Manner,
    json: bool,
) -> Result<(), BenchError> {
    // For one of its runs; the table is what is resumed.
    let reproduced = reproduce::fill(reproduction, folder, manner)
        .map_err(|error| error.of_folder(folder.path()))?;
    if json {
        return print(&reproduced.json()?);
    }
    let path = folder.path().display();
    print(&format!("{}\nResults: {path}\n", reproduce::text(&reproduced)))
}

fn resume(args: &ResumeArgs) -> Result<(), BenchError> {
    let folder = RunFolder::open(&args.folder)?;
    let settings: Table = folder.settings()?;
    let manner = resuming(args);
    if settings.contains_key(crate::reproduce::KEY) {
        return fill(&folder.settings()?, &folder, manner, args.manner.json);
    }
    if seeds::is_seeds(&settings) {
        let together = seeds::resume(&folder, manner)?;
        return show_seeds(&folder, &together, args.manner.json);
    }
    let is_compare = settings.contains_key(crate::compare::KEY);
    if is_compare || settings.contains_key(crate::toys::KEY) {
        if args.manner.json {
            let (expected, cure) =
                ("a run or a table of a paper, which have a summary", "leave it out");
            return Err(refuse("--json", "given", expected, cure));
        }
        let (table, what) = match is_compare {
            true => (crate::compare::resume(&folder, args.accept_changes)?, "Marks and figures"),
            false => (crate::toys::resume(&folder, args.accept_changes)?, "Table and figures"),
        };
        return show_table(&table, what, &folder);
    }
    let report = experiments::resume(&folder, manner)?;
    show(&folder, &report, args.manner.json, &Alone)
}

fn manner(args: MannerArgs) -> Manner {
    let save_every = Duration::from_secs(args.save_every.into());
    Manner { progress: !args.json, save_every, ranks: &Alone, accept_changes: false }
}

fn resuming(args: &ResumeArgs) -> Manner {
    Manner { accept_changes: args.accept_changes, ..manner(args.manner) }
}

/// Rank 0 prints; all ranks end in the same way.
fn show(
    folder: &RunFolder,
    report: &RunReport,
    json: bool,
    group: &dyn Group,
) -> Result<(), BenchError> {
    if group.rank() > 0 {
    } else if json {
        print(&format!("{}\n", summary_json(report)?))?;
    } else {
        let path = folder.path().display();
        let table = table::render(report, table::terminal_width());
        print(&format!("{table}\n\nResults: {path}\n"))?;
    }
    let failed = report.methods.iter().filter(|method| !method.ok);
    let methods: Vec<_> = failed.map(|method| method.name.clone()).collect();
    if methods.is_empty() {
        return Ok(());
    }
    Err(BenchError::Methods { methods, summary: folder.path().join("summary.json") })
}

fn show_seeds(folder: &RunFolder, together: &Together, json: bool) -> Result<(), BenchError> {
    if json {
        print(&together.json()?)?;
    } else {
        let path = folder.path().display();
        print(&format!("{}\nResults: {path}\n", together.render(table::terminal_width())))?;
    }
    let mut failed = together.runs.iter().flat_map(|run| &run.methods).filter(|method| !method.ok);
    let mut methods: Vec<String> = failed.by_ref().map(|method| method.name.clone()).collect();
    methods.dedup();
    if methods.is_empty() {
        return Ok(());
    }
    Err(BenchError::Methods { methods, summary: folder.path().join("summary.json") })
}

/// Derivatives do not depend on the number of samples, but the time of a check does.
const CHECKED_SAMPLES: i64 = 50;

fn check(check: &OfExperiment<CheckArgs>) -> Result<(), BenchError> {
    let mut few = Table::new();
    for setting in ["train", "validation"] {
        few.insert(setting.into(), CHECKED_SAMPLES.into());
    }
    few.insert("device".into(), "flex".into());
    let settings = check.settings_with(&few)?;
    let Some(reports) = settings.prepare()?.check()? else {
        let name = settings.experiment.name;
        let cure = "check your own losses by bilevel_program::check";
        return Err(refuse("experiment", name, "one whose losses have a check", cure));
    };
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
    let (table, folder) = crate::toys::start(args.problem.as_deref(), &args.out)?;
    show_table(&table, "Table and figures", &folder)
}

fn show_table(table: &str, what: &str, folder: &RunFolder) -> Result<(), BenchError> {
    print(&format!("{table}\n{what}: {}\n", folder.path().display()))
}

fn compare(args: CompareArgs) -> Result<(), BenchError> {
    let settings = crate::compare::Settings {
        problem: args.problem,
        methods: match args.method {
            Some(methods) => methods,
            None => crate::compare::fitting(args.problem, args.barrier)?,
        },
        seeds: args.seeds.unwrap_or(args.problem.seeds()),
        calls: args.calls.unwrap_or(args.problem.calls()),
        barrier: args.barrier,
        data_dir: args.data_dir.map(|dir| absolute("--data-dir", &dir)).transpose()?,
    };
    interrupt::at_once(UNTOUCHED.into());
    let (table, folder) = crate::compare::start(&settings, &args.out)?;
    show_table(&table, "Marks and figures", &folder)
}

fn hypergrad(args: HypergradArgs) -> Result<(), BenchError> {
    let json = args.json;
    interrupt::at_once("interrupted: a measurement is not saved; start it again".into());
    let report = hypergrad::run(&hypergrad::Settings::new(args)?)?;
    if json { print(&format!("{}\n", report.json()?)) } else { print(&report.table()) }?;
    if report.ok { Ok(()) } else { Err(BenchError::Unusable { status: report.status }) }
}

/// Prints results. A reader that has closed the pipe, such as `head`, is not an error.
fn print(text: &str) -> Result<(), BenchError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            Err(ReportError::Write { path: "standard output".into(), cause }.into())
        }
        _ => Ok(()),
    }
}

fn report(folders: &[std::path::PathBuf]) -> Result<(), BenchError> {
    for folder in folders {
        let folder = RunFolder::open(folder)?;
        runs::write_page(&folder)?;
        print(&format!("Page: {}\n", folder.path().join(PAGE).display()))?;
    }
    Ok(())
}

fn diff(args: &DiffArgs) -> Result<(), BenchError> {
    let [before, after] = [&args.before, &args.after].map(|folder| RunFolder::open(folder));
    print(&runs::difference(&before?, &after?, table::terminal_width())?)
}

fn completions(args: CompletionsArgs) -> Result<(), BenchError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bilevel", &mut text);
    print(&String::from_utf8_lossy(&text))
}

fn man(folder: &Path) -> Result<(), BenchError> {
    let write = || {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    write().map_err(|cause| ReportError::Write { path: folder.into(), cause })?;
    print(&format!("Man pages: {}\n", folder.display()))
}

fn list() -> String {
    let mut text = String::from("Experiments\n");
    for experiment in EXPERIMENTS {
        text += &format!("  {:<16} {}\n", experiment.name, experiment.about);
    }
    for experiment in EXPERIMENTS {
        text += &format!("\nMethods of {}\n", experiment.name);
        for (name, summary) in experiment.methods() {
            text += &format!("  {name:<16} {summary}\n");
        }
    }
    for family in Family::ALL {
        text += &format!("\nAll methods of the library, {}\n", family.as_str());
        for entry in catalogue::all().filter(|entry| entry.family == family) {
            text += &format!("  {:<16} {}\n", entry.name, entry.summary);
        }
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
    for (at, adapter) in adapters.iter().enumerate() {
        let real = if adapter.gpu { "" } else { " (not a GPU)" };
        let Adapter { name, interface, kind, largest_array, .. } = adapter;
        let most = largest_array >> 20;
        text += &format!(
            "  wgpu:{at}   {name} - {interface}, {kind}{real}, arrays of {most} MiB at most\n"
        );
    }
    let (name, reason) = backend::pick();
    text += &format!("\n--device auto picks {}: {reason}\n", name.as_str());
    text
}
