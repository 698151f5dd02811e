//! Settings.

use std::path::PathBuf;

use bilevel_core::catalogue;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::Method;
use crate::error::BenchError;
use crate::experiments::own_table;
use crate::settings::{Common, Count, LowerLevel, Methods, Offered, Positive, refuse};

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemName {
    /// The weight decay of each layer of a network, on the embedded digits
    Digits,
    /// The step size and the momentum of its training
    Rates,
    /// One penalty per feature of a linear regression, on generated rows
    Ridge,
    /// One penalty per feature of a logistic regression on ijcnn1 (needs --data-dir)
    Ijcnn1,
    /// Penalties of a classifier of your table, or else of the digits
    Table,
    /// One penalty per class of a softmax regression on 20newsgroups (needs --data-dir)
    #[value(name = "20newsgroups")]
    #[serde(rename = "20newsgroups")]
    Newsgroups,
}

impl ProblemName {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Rates => "rates",
            Self::Ridge => "ridge",
            Self::Ijcnn1 => "ijcnn1",
            Self::Table => "table",
            Self::Newsgroups => "20newsgroups",
        }
    }
}

/// What shares a penalty in the classifier of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Penalties {
    /// The weights of a feature, in a softmax regression
    #[default]
    Feature,
    /// The weights of a class, in a softmax regression
    Class,
    /// The weights of a layer, in a network with one hidden layer of 32 ReLU units
    Layer,
}

/// The settings of hyperparameter optimisation.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// What is learned
    #[arg(long, value_enum)]
    pub problem: ProblemName,
    /// Methods, separated by commas, optionally with their own settings, such as cg(damping=0.1); all of them; or auto,
    /// which chooses one from probes on the problem
    #[arg(long)]
    pub method: Methods<Method>,
    /// Oracle calls of each method, in calls of one batch
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub calls: u64,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    /// Step size of x; of Adam, for methods along hypergradients
    #[arg(long)]
    pub learning_rate: Positive,
    /// The smallest value of an entry of x
    #[arg(long, allow_negative_numbers = true)]
    pub low: f64,
    /// The largest value of an entry of x
    #[arg(long, allow_negative_numbers = true)]
    pub high: f64,
    /// Rows per batch, for ijcnn1 and 20newsgroups
    #[arg(long)]
    pub batch: Count,
    /// The table: .csv, .parquet, .npy, .npz, libsvm, .safetensors, IDX, a folder of class folders of images, or one in
    /// MNIST's or CIFAR's format [default: the embedded digits]
    #[arg(long, value_name = "FILE", value_parser = crate::settings::text_path())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The column of the labels in a CSV or Parquet, or its number from 1 in an .npy [default: label, class or target, or
    /// else the last]; for other data a file of labels, one per row: .npy, .csv, .parquet or IDX
    #[arg(long, value_name = "COLUMN_OR_FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What shares a penalty, and the classifier of the table [default: feature]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub penalties: Option<Penalties>,
    /// The number of words of 20newsgroups that are used, the most frequent ones [default: all 130107]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Count>,
    /// How often the validation loss is measured
    #[arg(long)]
    pub evaluations: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);

    fn complete(&mut self) -> Result<(), BenchError> {
        own_table::complete(&mut self.data, &mut self.label)
    }

    fn check(&self) -> Result<(), BenchError> {
        if self.data.is_some() && self.problem != ProblemName::Table {
            let expected = "--problem table, which alone reads it";
            return Err(refuse("--data", "given", expected, "give both, or neither"));
        }
        if self.penalties.is_some() && self.problem != ProblemName::Table {
            let expected = "--problem table, the only one with several kinds of penalties";
            return Err(refuse("--penalties", "given", expected, "give both, or neither"));
        }
        match self.problem {
            ProblemName::Ijcnn1 | ProblemName::Newsgroups => {}
            ProblemName::Table => {
                self.common.refuse_data_dir("--data, a file or a folder", "name it there")?;
            }
            ProblemName::Digits | ProblemName::Rates | ProblemName::Ridge => {
                let expected = "--problem ijcnn1 or 20newsgroups, which alone read it";
                self.common.refuse_data_dir(expected, "give both, or leave it out")?;
            }
        }
        let rates = self.problem == ProblemName::Rates;
        let fits = |method: &&Method| {
            ["rad", "fad", "grid", "random"].iter().any(|name| method.is_called(name))
        };
        if let Some(other) = self.method.iter().find(|method| rates && !fits(method)) {
            let cure = "the others do not differentiate in how y is trained";
            return Err(refuse("--method", other.name(), "rad, fad, grid, random for rates", cure));
        }
        if !(self.low.is_finite() && self.high.is_finite() && self.low < self.high) {
            let found = format!("{} with --high {}", self.low, self.high);
            return Err(refuse("--low", found, "a finite number below --high", "give another box"));
        }
        // A training must leave calls for learning x.
        let steps = self.lower.lower_steps;
        let least = (steps.get() as u64).saturating_mul(4);
        if self.calls < least {
            let expected = format!("at least {least}, four trainings of {steps} steps");
            let cure = "give more calls, or fewer --lower-steps";
            return Err(refuse("--calls", self.calls, &expected, cure));
        }
        Ok(())
    }
}

impl Settings {
    /// What shares a penalty in the classifier of a table.
    pub fn penalties(&self) -> Penalties {
        self.penalties.unwrap_or_default()
    }

    /// Whether the lower level has one solution that does not depend on its start: the methods then continue from their
    /// last y.
    pub fn is_convex(&self) -> bool {
        match self.problem {
            ProblemName::Digits | ProblemName::Rates => false,
            ProblemName::Table => self.penalties() != Penalties::Layer,
            ProblemName::Ridge | ProblemName::Ijcnn1 | ProblemName::Newsgroups => true,
        }
    }

    /// The settings of the catalogue of methods from these, for a lower level in `batches` batches.
    pub fn of_methods(&self, batches: usize) -> catalogue::Settings {
        let steps = self.lower.lower_steps.get();
        catalogue::Settings {
            learning_rate: self.learning_rate.get(),
            step_size: self.lower.step_size.get(),
            lower_steps: if self.is_convex() { 10 } else { steps },
            truncated: steps.div_ceil(4).min(25),
            aggregation: 0.5,
            solver_iterations: 20,
            tolerance: 1e-3,
            // The Hessian of a network need not be positive definite.
            damping: if self.is_convex() { 0.0 } else { 0.1 },
            warm_start: true,
            period: batches.max(2),
            ..catalogue::Settings::default()
        }
    }
}
