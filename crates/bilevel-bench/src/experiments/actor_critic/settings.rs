//! Settings, and the methods of this experiment.

use bilevel_core::catalogue::{self, Entry, Family, Needs};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::settings::{
    Baseline, Chosen, Common, Count, LinearSystem, LowerLevel, Methods, UpperLevel, refuse,
};

/// The baselines of learned policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// no force, or random pushes: the start of the training
    Start,
    /// the optimal policy, by Riccati's equation; for lqr only
    Optimal,
}

impl Baseline for Reference {
    /// Excludes methods that restart the critic at each step of the policy.
    fn suits(entry: &Entry) -> bool {
        let unfit = ["rtho", "bda", "pbda", "ia-gm", "ia-gm-a", "iaptt"];
        [Family::Hypergradient, Family::Joint].contains(&entry.family)
            && entry.needs == Needs::Nothing
            && !unfit.contains(&entry.name)
    }
}

/// The environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The linear quadratic regulator
    Lqr,
    /// A pole on a cart
    CartPole,
}

/// The settings of actor and critic.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, optionally with their own settings, such as f2sa(learning-rate=0.01); or all
    #[arg(long)]
    pub method: Methods<Chosen<Reference>>,
    /// The environment
    #[arg(long, value_enum)]
    pub task: Task,
    /// Environments run in parallel
    #[arg(long)]
    pub environments: Count,
    /// Steps in each of them between two steps of the policy
    #[arg(long)]
    pub horizon: Count,
    /// Episodes of an evaluation
    #[arg(long)]
    pub episodes: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub linear: LinearSystem,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Chosen<Reference>);

    fn check(&self) -> Result<(), BenchError> {
        self.common.refuse_data_dir("none: an environment gives the data", "leave it out")?;
        let optimal = Chosen::Baseline(Reference::Optimal);
        if self.task == Task::CartPole && self.method.contains(&optimal) {
            let expected = "one of the others: the best policy of cart-pole has no closed form";
            return Err(refuse("--method", "optimal", expected, "leave it out"));
        }
        Ok(())
    }
}

impl Settings {
    /// Transitions of an upper step.
    pub fn transitions(&self) -> usize {
        self.environments.get() * self.horizon.get()
    }

    /// The settings of the catalogue of methods from these.
    pub fn of_methods(&self) -> catalogue::Settings {
        self.linear.of_methods(&self.lower, &self.upper)
    }
}
