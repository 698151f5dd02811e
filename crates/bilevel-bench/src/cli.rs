//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::backend::BackendName;
use crate::compare::ProblemName;
use crate::error::{BenchError, EXIT_CODES};
use crate::experiments::robust::{self, Subject};
use crate::experiments::{Settings, hpo, hyper_cleaning, importance, poisoning};
use crate::hypergrad::{Form, Method, PlanName, Side, What, Workload};
use crate::reproduce::{Preset, TableName};

/// Bilevel optimisation: the field's experiments, on the CPU and on any GPU.
///
/// Without a command: hyper-cleaning of the embedded digits, half of whose training labels are wrong.
#[derive(Debug, Parser)]
#[command(name = "bilevel", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run an experiment and write its results to a folder.
    #[command(subcommand)]
    Run(Experiment),
    /// Run the experiments of a paper's table, and print our figures beside the paper's.
    Reproduce(ReproduceArgs),
    /// Go on with a run or a table that was cut short, from its last checkpoint.
    Resume(ResumeArgs),
    /// Check the derivatives of an experiment's losses, in f64 on the CPU.
    #[command(subcommand)]
    Check(CheckedExperiment),
    /// Run methods on problems whose answers are known: what their sources say, and what we see. In f64 on
    /// the CPU.
    Toys(ToysArgs),
    /// Run methods side by side on one problem: how near they come, against oracle calls and against
    /// seconds, over several seeds. In f64 on the CPU.
    Compare(CompareArgs),
    /// Time one hypergradient of a problem of real size, on random numbers or on those of a file.
    Hypergrad(HypergradArgs),
    /// Show the program of a derivative: what is computed, operation by operation.
    Program(ProgramArgs),
    /// List experiments and methods.
    List,
    /// Show the backends, the graphics adapters, and what `--backend auto` picks.
    Doctor,
}

/// What `toys` takes.
#[derive(Debug, Default, Args)]
pub struct ToysArgs {
    /// One problem [default: all]
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(bilevel_problems::claims::PROBLEMS))]
    pub problem: Option<String>,
    /// Where the folder of the run is made [default: runs]
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What `compare` takes.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// On which problem
    #[arg(value_enum)]
    pub problem: ProblemName,
    /// Methods, separated by commas, or all [default: all]
    #[arg(long, value_delimiter = ',')]
    pub methods: Vec<String>,
    /// How many seeds: of starts, of the parts of the data, of the draws [default: 10]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: Option<u64>,
    /// Oracle calls of each run, in calls of one batch [default: 32768 for quadratic, else 65536]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub calls: Option<u64>,
    /// The folder with the problem's data
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Where the folder of the run is made [default: runs]
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What `hypergrad` takes.
#[derive(Debug, Args)]
pub struct HypergradArgs {
    /// The problem
    #[arg(long, value_enum, default_value = "softmax")]
    pub workload: Workload,
    /// How the hypergradient is computed
    #[arg(long, value_enum, default_value = "rad")]
    pub method: Method,
    /// Lower steps T, all of which are made [default: 10]
    #[arg(long)]
    pub steps: Option<usize>,
    /// The lower states that rad keeps [default: trajectory]
    #[arg(long, value_enum)]
    pub plan: Option<PlanName>,
    /// Mebibytes of results that the plan results keeps [default: 256]
    #[arg(long, value_parser = clap::builder::TypedValueParser::map(clap::value_parser!(u16), usize::from))]
    pub keep: Option<usize>,
    /// Samples of each level, or tasks of meta-batch [default: 5000, 10 of small, 25 of conv, 100 of meta-batch]
    #[arg(long, conflicts_with = "data")]
    pub samples: Option<usize>,
    /// Iterations of cg, all of which are made [default: 20]
    #[arg(long)]
    pub iterations: Option<usize>,
    /// Damping of cg, for a Hessian that is not positive definite [default: 0]
    #[arg(long)]
    pub damping: Option<f64>,
    /// Step size of the lower level [default: 0.1]
    #[arg(long)]
    pub step_size: Option<f64>,
    /// How often the hypergradient is timed, after one that is not [default: 5]
    #[arg(long)]
    pub repetitions: Option<usize>,
    /// A safetensors file with samples and network [default: drawn from the seed]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The safetensors file to write the hypergradient to
    #[arg(long)]
    pub gradient: Option<PathBuf>,
    /// Where to compute [default: auto]
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Seed of the samples and of the network [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// What `program` takes.
#[derive(Debug, Args)]
pub struct ProgramArgs {
    /// Of which problem
    #[arg(value_enum)]
    pub workload: Workload,
    /// Of which loss
    #[arg(long, value_enum, default_value = "lower")]
    pub level: Side,
    /// What it computes
    #[arg(long, value_enum, default_value = "product")]
    pub what: What,
    /// How it is shown
    #[arg(long, value_enum, default_value = "text")]
    pub form: Form,
    /// Samples of each level, or tasks of meta-batch [default: as in hypergrad]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub samples: Option<u16>,
}

/// The experiments.
#[derive(Debug, Subcommand)]
pub enum Experiment {
    /// Find the wrong labels of a training set: one weight a sample, learned on clean validation data.
    HyperCleaning(Box<hyper_cleaning::Args>),
    /// The same with batches and a convolutional network, by methods that move weights and network together.
    Importance(Box<importance::Args>),
    /// Add samples to a training set so that a classifier trained on it errs.
    Poisoning(Box<poisoning::Args>),
    /// Weigh training images by their losses, learned on a few clean ones: wrong labels, classes of unequal size.
    Mwn(Box<robust::Args>),
    /// Correct wrong labels by a transition matrix, learned on a few clean images.
    Mlc(Box<robust::Args>),
    /// Learn hyperparameters, against grid and random search at equal cost.
    Hpo(Box<hpo::Args>),
}

impl Experiment {
    /// The settings that the arguments make, completed.
    ///
    /// # Errors
    /// If a setting is outside its range.
    pub fn settings(&self) -> Result<Settings, BenchError> {
        Ok(match self {
            Self::HyperCleaning(args) => {
                Settings::HyperCleaning(hyper_cleaning::Settings::new(args)?)
            }
            Self::Importance(args) => Settings::Importance(importance::Settings::new(args)?),
            Self::Poisoning(args) => Settings::Poisoning(poisoning::Settings::new(args)?),
            Self::Mwn(args) => Settings::Mwn(robust::Settings::new(args, Subject::Weights)?),
            Self::Mlc(args) => Settings::Mlc(robust::Settings::new(args, Subject::Transition)?),
            Self::Hpo(args) => Settings::Hpo(hpo::Settings::new(args)?),
        })
    }

    /// What all experiments take.
    pub fn common(&self) -> &Common {
        match self {
            Self::HyperCleaning(args) => &args.common,
            Self::Importance(args) => &args.common,
            Self::Poisoning(args) => &args.common,
            Self::Mwn(args) | Self::Mlc(args) => &args.common,
            Self::Hpo(args) => &args.common,
        }
    }
}

/// What all experiments take.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// Seed of splits, noise and initial values [default: 0]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Where to compute [default: auto]
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// The folder with the data [default: the embedded digits]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Where the folder of the run is made [default: runs]
    #[arg(long)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub manner: MannerArgs,
}

/// How to go about a run.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct MannerArgs {
    /// Print the summary as JSON, and nothing else
    #[arg(long)]
    pub json: bool,
    /// Seconds between two checkpoints [default: 30]
    #[arg(long)]
    pub save_every: Option<u32>,
}

/// What `reproduce` takes.
#[derive(Debug, Args)]
pub struct ReproduceArgs {
    /// The table
    #[arg(value_enum)]
    pub table: TableName,
    /// The paper's sizes, or small ones
    #[arg(long, value_enum, default_value = "small")]
    pub preset: Preset,
    /// How many seeds
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// The folder with the paper's data
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Where to compute [default: auto]
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Where the folder of the table is made [default: runs]
    #[arg(long)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub manner: MannerArgs,
}

/// What `resume` takes.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The folder of the run or of the table
    pub folder: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub manner: MannerArgs,
}

/// The experiments whose derivatives can be checked.
#[derive(Debug, Subcommand)]
pub enum CheckedExperiment {
    /// The losses of 50 training and 50 validation samples.
    HyperCleaning(HyperCleaningCheckArgs),
}

/// What the check of hyper-cleaning takes.
#[derive(Debug, Default, Args)]
pub struct HyperCleaningCheckArgs {
    /// The classifier [default: softmax]
    #[arg(long, value_enum)]
    pub model: Option<hyper_cleaning::ModelName>,
    /// A folder with data in MNIST's format [default: the embedded digits]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}
