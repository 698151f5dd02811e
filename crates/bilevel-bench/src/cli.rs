//! The command line.

use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use toml::Table;

use crate::backend::DeviceName;
use crate::compare;
use crate::error::{BenchError, EXIT_CODES};
use crate::experiments::{Complete, EXPERIMENTS, Registered, read_config};
use crate::hypergrad::{Form, Method, PlanName, Side, What, Workload};
use crate::reproduce::{DataSet, Preset, TableName};
use crate::settings::{CALLS, Count, Methods, NonNegative, Positive, SEEDS};

mod on_table;
mod renamed;

pub use on_table::{Cleaning, OnTable, TableExperiment, Tuning};
pub use renamed::renamed;

/// Bilevel optimisation: experiments of the literature, on the CPU and on any GPU.
///
/// Without a command: hyper-cleaning of the embedded digits, half of whose training labels are wrong.
#[derive(Debug, Parser)]
#[command(name = "bilevel", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub messages: MessageArgs,
}

/// Messages besides results, on standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Messages")]
pub struct MessageArgs {
    /// Print results and errors only
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print each step of a run too
    #[arg(long, global = true)]
    pub verbose: bool,
    /// Write all messages to a file, with or without --quiet and --verbose
    #[arg(long, global = true, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one is made a process")]
pub enum Command {
    /// Run an experiment and write its results to a folder.
    #[command(subcommand)]
    Run(OfExperiment<RunArgs>),
    /// Find the wrong labels of your own table, given a few trusted labels: `run clean` with the table first.
    Clean(OnTable<Cleaning>),
    /// Learn the penalties of a classifier of your own table, one for each feature, class or layer, against grid and
    /// random search at equal cost: `run hpo` with the table first.
    Tune(OnTable<Tuning>),
    /// Run the experiments of a paper's table, and print our figures beside the paper's.
    Reproduce(ReproduceArgs),
    /// Resume an interrupted run, table, comparison or `toys` from its last checkpoint.
    Resume(ResumeArgs),
    /// Write the page of a run, table, comparison or `toys` again: report.html, which needs no network.
    Report(ReportArgs),
    /// Compare the settings and the results of two runs.
    Diff(DiffArgs),
    /// List the runs of a folder.
    Runs(RunsArgs),
    /// Check the derivatives of an experiment's losses, in f64 on the CPU.
    #[command(subcommand)]
    Check(OfExperiment<CheckArgs>),
    /// Run methods on problems with known answers: the claims of their sources, and our results. In f64 on
    /// the CPU.
    Toys(ToysArgs),
    /// Solve a small problem without any settings: one of the literature by its name, or your own by its formulas in a
    /// TOML file. In f64 on the CPU. Without a name: lists those with known answers.
    Solve(SolveArgs),
    /// Compare methods on one problem: how close they come to the solution, over oracle calls and over seconds, for
    /// several seeds. In f64 on the CPU.
    Compare(CompareArgs),
    /// Time one hypergradient of a problem of realistic size, on random numbers or on those of a file. It cannot be
    /// resumed.
    Hypergrad(HypergradArgs),
    /// Show the program of a derivative, operation by operation.
    Program(ProgramArgs),
    /// List experiments and methods.
    List,
    /// Show the backends, the graphics adapters, and what `--device auto` selects.
    Doctor,
    /// Print shell completions, for example `source <(bilevel completions bash)`.
    Completions(CompletionsArgs),
    /// Write the man pages to a folder.
    Man(ManArgs),
}

/// An experiment, the settings given by flags, and further arguments of a command.
#[derive(Debug)]
pub struct OfExperiment<A> {
    experiment: &'static Registered,
    flags: Table,
    /// Further arguments of the command.
    pub args: A,
}

impl<A: Args> FromArgMatches for OfExperiment<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let chosen = matches.subcommand().and_then(|(name, matches)| {
            let experiment = EXPERIMENTS.iter().find(|known| known.name == name)?;
            Some((experiment, matches))
        });
        let Some((experiment, matches)) = chosen else {
            let kind = clap::error::ErrorKind::MissingSubcommand;
            return Err(clap::Error::raw(kind, "name an experiment\n"));
        };
        let flags = experiment.flags(matches)?;
        Ok(Self { experiment, flags, args: A::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<A: Args> Subcommand for OfExperiment<A> {
    fn augment_subcommands(command: clap::Command) -> clap::Command {
        // Arguments come with a description of themselves, which is not that of the command.
        let each =
            EXPERIMENTS.iter().map(|known| A::augment_args(known.command()).about(known.about));
        command.subcommands(each).subcommand_required(true).arg_required_else_help(true)
    }

    fn augment_subcommands_for_update(command: clap::Command) -> clap::Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        EXPERIMENTS.iter().any(|known| known.name == name)
    }
}

impl<A> OfExperiment<A> {
    /// All settings: defaults and presets, those of `config` if given, and flags.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn settings(&self, config: Option<&PathBuf>) -> Result<Complete, BenchError> {
        let mut given = match config {
            Some(path) => read_config(path, self.experiment)?,
            None => Table::new(),
        };
        given.extend(self.flags.clone());
        self.experiment.complete(&given)
    }

    /// The same with `more` as further defaults.
    ///
    /// # Errors
    /// If a setting is invalid.
    pub fn settings_with(&self, more: &Table) -> Result<Complete, BenchError> {
        let names = self.experiment.command();
        let known = |key: &str| {
            names.get_arguments().any(|arg| arg.get_id().as_str() == key.replace('-', "_"))
        };
        let mut given: Table = more
            .iter()
            .filter(|(key, _)| known(key))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        given.extend(self.flags.clone());
        self.experiment.complete(&given)
    }
}

/// Arguments of `run` besides the settings of an experiment.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A TOML file with all or some of the settings; it overrides presets, and flags override it
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Print the complete settings and exit
    #[arg(long)]
    pub dry_run: bool,
    /// Number of seeds, counted from --seed: one run each, with means, bands and paired tests
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(SEEDS))]
    pub seeds: u64,
    /// The folder in which the folder of the run is created
    #[arg(long, default_value = "runs")]
    pub out: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub manner: MannerArgs,
}

/// Arguments of `check` besides the settings of an experiment: none.
#[derive(Debug, Args)]
pub struct CheckArgs {}

/// How to carry out a run.
#[derive(Debug, Clone, Copy, Args)]
pub struct MannerArgs {
    /// Print the summary as JSON, and nothing else
    #[arg(long)]
    pub json: bool,
    /// Seconds between two checkpoints
    #[arg(long, default_value_t = 30)]
    pub save_every: u32,
}

/// Arguments of `toys`.
#[derive(Debug, Args)]
pub struct ToysArgs {
    /// One problem [default: all]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(bilevel_problems::claims::PROBLEMS))]
    pub problem: Option<String>,
    /// The folder in which the folder of the run is created
    #[arg(long, default_value = "runs")]
    pub out: PathBuf,
}

/// Arguments of `solve`.
#[derive(Debug, Args)]
pub struct SolveArgs {
    /// A problem that `bilevel solve` lists, or a TOML file with formulas F and f, constraints G, H, g and h, and starts x
    /// and y
    #[arg(value_name = "NAME|FILE")]
    pub problem: Option<String>,
    /// For the worst of several lower solutions instead of the best
    #[arg(long, requires = "problem")]
    pub pessimistic: bool,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The problem
    #[arg(value_enum)]
    pub problem: compare::ProblemName,
    /// Methods, separated by commas, optionally with their own settings, such as cg(damping=0.1); all of them; or auto,
    /// which chooses one from probes on the problem [default: all that keep to its constraints]
    #[arg(long)]
    pub method: Option<Methods<compare::Contender>>,
    /// Number of seeds: of starts, of the parts of the data, of the draws [default: 10, or 1 where the answer is known]
    #[arg(long, value_parser = clap::value_parser!(u64).range(SEEDS))]
    pub seeds: Option<u64>,
    /// Oracle calls of each run, in calls of one batch [default: 32768 for quadratic, 65536 for ijcnn1, otherwise
    /// 16384]
    #[arg(long, value_parser = clap::value_parser!(u64).range(CALLS))]
    pub calls: Option<u64>,
    /// The weight of barriers in the losses for constraints that a method ignores; without it such methods are refused
    #[arg(long)]
    pub barrier: Option<Positive>,
    /// The folder with the problem's data
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The folder in which the folder of the run is created
    #[arg(long, default_value = "runs")]
    pub out: PathBuf,
}

/// Arguments of `hypergrad`.
#[derive(Debug, Args)]
pub struct HypergradArgs {
    /// The problem
    #[arg(long, value_enum, default_value = "softmax")]
    pub workload: Workload,
    /// How the hypergradient is computed
    #[arg(long, value_enum, default_value = "rad")]
    pub method: Method,
    /// Lower steps T, all of which are made
    #[arg(long, default_value = "10")]
    pub lower_steps: Count,
    /// The lower states that rad keeps [default: results]
    #[arg(long, value_enum)]
    pub plan: Option<PlanName>,
    /// Mebibytes of linearisations that the plan results keeps [default: 256]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub keep: Option<u16>,
    /// Samples of each level, or tasks of meta-batch [default: 5000, 10 of small, 25 of conv, 100 of meta-batch]
    #[arg(long, conflicts_with = "data", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub samples: Option<u32>,
    /// Iterations of cg, all of which are made [default: 20]
    #[arg(long)]
    pub solver_iterations: Option<Count>,
    /// Damping of cg, for a Hessian that is not positive definite [default: 0]
    #[arg(long)]
    pub damping: Option<NonNegative>,
    /// Step size of the lower level
    #[arg(long, default_value = "0.1")]
    pub step_size: Positive,
    /// Number of timed hypergradients, after an untimed one
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    pub repetitions: u32,
    /// A safetensors file with samples and network [default: drawn from the seed]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The safetensors file to write the hypergradient to
    #[arg(long)]
    pub gradient: Option<PathBuf>,
    /// Where to compute: auto, flex, ndarray, wgpu, cuda, rocm, or one of several GPUs, such as wgpu:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceName,
    /// Seed of the samples and of the network
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `program`.
#[derive(Debug, Args)]
pub struct ProgramArgs {
    /// The problem
    #[arg(value_enum)]
    pub workload: Workload,
    /// The loss
    #[arg(long, value_enum, default_value = "lower")]
    pub level: Side,
    /// The function
    #[arg(long, value_enum, default_value = "product")]
    pub what: What,
    /// The output format
    #[arg(long, value_enum, default_value = "text")]
    pub form: Form,
    /// Samples of each level, or tasks of meta-batch [default: as in hypergrad]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub samples: Option<u16>,
}

/// Arguments of `reproduce`.
#[derive(Debug, Args)]
pub struct ReproduceArgs {
    /// The table
    #[arg(value_enum)]
    pub table: TableName,
    /// The paper's sizes, or small ones
    #[arg(long, value_enum, default_value = "small")]
    pub preset: Preset,
    /// Number of seeds
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(SEEDS))]
    pub seeds: u64,
    /// The folder with the paper's data
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The data set, where the paper has figures for several [default: mnist]
    #[arg(long, value_enum)]
    pub data_set: Option<DataSet>,
    /// Upper steps of every method, for iaptt-table-3 and penalty-table-2 [default: the paper's]
    #[arg(long)]
    pub upper_steps: Option<Count>,
    /// Where to compute: auto, flex, ndarray, wgpu, cuda, rocm, or one of several GPUs, such as wgpu:1
    #[arg(long, default_value = "auto")]
    pub device: DeviceName,
    /// The folder in which the folder of the table is created
    #[arg(long, default_value = "runs")]
    pub out: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub manner: MannerArgs,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The folders
    #[arg(required = true, value_name = "RUN")]
    pub folders: Vec<PathBuf>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The folder of a run
    #[arg(value_name = "RUN")]
    pub before: PathBuf,
    /// The folder of another
    #[arg(value_name = "OTHER")]
    pub after: PathBuf,
}

/// Arguments of `runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The folder of the runs
    #[arg(default_value = "runs")]
    pub folder: PathBuf,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder; it is created if it does not exist
    pub folder: PathBuf,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The folder of the run
    pub folder: PathBuf,
    /// Go on even if the data or the version of bilevel changed since the run began; results then name what changed
    #[arg(long)]
    pub accept_changes: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub manner: MannerArgs,
}
