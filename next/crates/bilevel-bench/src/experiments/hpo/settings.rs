//! Settings: what the command line gives, completed and checked.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Args, Method};
use crate::backend::BackendName;
use crate::error::BenchError;
use crate::methods::{Linear, Tuning};
use crate::settings::{check_counts, check_positive, refuse};

/// What is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemName {
    /// The weight decay of each layer of a network, on the embedded digits
    #[default]
    Digits,
    /// The step size and the momentum of its training
    Rates,
    /// One penalty a feature of a linear regression, on drawn rows
    Ridge,
    /// One penalty a feature of a logistic regression on ijcnn1 (needs --data-dir)
    Ijcnn1,
    /// One penalty a class of a softmax regression on 20newsgroups (needs --data-dir)
    #[value(name = "20newsgroups")]
    #[serde(rename = "20newsgroups")]
    Newsgroups,
}

/// How large a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// All of the data
    Paper,
    /// Minutes at most: a quarter of the calls, and of 20newsgroups the 5000 most frequent words
    Small,
}

/// All settings of a run, as `settings.toml` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// What is learned.
    pub problem: ProblemName,
    /// The folder of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The methods, in the order of the run.
    #[serde(rename = "method")]
    pub methods: Vec<Method>,
    /// Oracle calls of each method.
    pub calls: u64,
    /// Steps T of each training.
    pub steps: usize,
    /// Lower step size.
    pub step_size: f64,
    /// Step size of x; Adam's, for methods along hypergradients.
    pub learning_rate: f64,
    /// The least entry of x in a search.
    pub low: f64,
    /// The greatest.
    pub high: f64,
    /// Rows of a batch.
    pub batch: usize,
    /// Words of 20newsgroups; none for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<usize>,
    /// How often the validation loss is measured.
    pub rounds: usize,
    /// The seed.
    pub seed: u64,
    /// The backend asked for.
    pub backend: BackendName,
}

/// What suits a problem.
struct Defaults {
    methods: &'static [&'static str],
    calls: u64,
    steps: usize,
    step_size: f64,
    learning_rate: f64,
    /// x in a search. Penalties above 2 over the step size would make the training diverge.
    region: (f64, f64),
    batch: usize,
}

impl ProblemName {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Rates => "rates",
            Self::Ridge => "ridge",
            Self::Ijcnn1 => "ijcnn1",
            Self::Newsgroups => "20newsgroups",
        }
    }

    fn defaults(self) -> Defaults {
        match self {
            Self::Digits => Defaults {
                methods: &["rad", "fad"],
                calls: 10_000,
                steps: 100,
                step_size: 0.5,
                learning_rate: 0.3,
                region: (-10.0, 0.0),
                batch: 500,
            },
            Self::Rates => Defaults {
                methods: &["rad", "fad"],
                calls: 5_000,
                steps: 50,
                step_size: 0.5,
                learning_rate: 0.2,
                region: (-5.0, 2.0),
                batch: 500,
            },
            Self::Ridge => Defaults {
                methods: &["cg", "rad"],
                calls: 10_000,
                steps: 200,
                step_size: 0.15,
                learning_rate: 0.2,
                region: (-8.0, 2.0),
                batch: 40,
            },
            Self::Ijcnn1 => Defaults {
                methods: &["saba", "soba"],
                calls: 60_000,
                steps: 2_000,
                step_size: 0.3,
                learning_rate: 1.0,
                region: (-10.0, 1.0),
                batch: 256,
            },
            Self::Newsgroups => Defaults {
                methods: &["soba", "srba"],
                calls: 12_000,
                steps: 1_000,
                step_size: 20.0,
                learning_rate: 20.0,
                region: (-14.0, -4.0),
                batch: 64,
            },
        }
    }
}

impl Settings {
    /// Completes what the command line gives with what suits the problem.
    ///
    /// # Errors
    /// If a setting is outside its range, or a method unknown. Whether the data is there is seen later.
    pub fn new(args: &Args) -> Result<Self, BenchError> {
        let common = &args.common;
        let problem = args.problem.unwrap_or_default();
        let defaults = problem.defaults();
        let small = args.preset == Some(Preset::Small);
        let names: Vec<&str> = match &args.methods[..] {
            [] => defaults.methods.iter().copied().chain(["grid", "random"]).collect(),
            [all] if all == "all" => Method::all().map(Method::name).collect(),
            given => given.iter().map(String::as_str).collect(),
        };
        let words = args.words.or((small && problem == ProblemName::Newsgroups).then_some(5000));
        let settings = Self {
            problem,
            data_dir: common.data_dir.clone(),
            methods: names.into_iter().map(Method::named).collect::<Result<_, _>>()?,
            calls: args.calls.unwrap_or(if small { defaults.calls / 4 } else { defaults.calls }),
            steps: args.steps.unwrap_or(if small { defaults.steps / 4 } else { defaults.steps }),
            step_size: args.step_size.unwrap_or(defaults.step_size),
            learning_rate: args.learning_rate.unwrap_or(defaults.learning_rate),
            low: defaults.region.0,
            high: defaults.region.1,
            batch: args.batch.unwrap_or(defaults.batch),
            words,
            rounds: args.rounds.unwrap_or(20),
            seed: common.seed.unwrap_or(0),
            backend: common.backend.unwrap_or(BackendName::Auto),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), BenchError> {
        check_counts(&[
            ("--steps", self.steps),
            ("--batch", self.batch),
            ("--words", self.words.unwrap_or(1)),
            ("--rounds", self.rounds),
        ])?;
        check_positive(&[
            ("--step-size", self.step_size),
            ("--learning-rate", self.learning_rate),
        ])?;
        let rates = self.problem == ProblemName::Rates;
        let fits = |method: &&Method| ["rad", "fad", "grid", "random"].contains(&method.name());
        if let Some(other) = self.methods.iter().find(|method| rates && !fits(method)) {
            let cure = "the others do not differentiate in how y is trained";
            return Err(refuse("--method", other.name(), "rad, fad, grid, random for rates", cure));
        }
        // A training must leave something to learn x with.
        let least = 4 * self.steps as u64;
        if self.calls < least {
            let expected = format!("at least {least}, four trainings of {} steps", self.steps);
            return Err(refuse(
                "--calls",
                self.calls,
                &expected,
                "give more calls, or fewer --steps",
            ));
        }
        Ok(())
    }

    /// Whether the lower level has one solution that does not depend on its start: the methods then go on from
    /// where they are.
    pub fn is_convex(&self) -> bool {
        !matches!(self.problem, ProblemName::Digits | ProblemName::Rates)
    }

    /// What the table of methods makes of them, for a lower level in `batches` batches.
    pub fn tuning(&self, batches: usize) -> Tuning {
        // The Hessian of a network need not be positive definite.
        let damping = if self.is_convex() { 0.0 } else { 0.1 };
        Tuning {
            upper: self.learning_rate,
            whole: self.learning_rate,
            lower: self.step_size,
            steps: if self.is_convex() { 10 } else { self.steps },
            truncated: self.steps.div_ceil(4).min(25),
            aggregation: 0.5,
            linear: Linear { iterations: 20, tolerance: 1e-3, damping, warm: true },
            period: batches.max(2),
            perturbation: 0.5,
        }
    }
}
