//! Settings, and the methods of this experiment.

use bilevel_core::catalogue::{self, Entry, Family, LowerDynamics, Needs};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::settings::{
    Baseline, Catalogued, Chosen, Common, Count, LinearSystem, LowerLevel, Methods, Offered, Share,
    UpperLevel, refuse,
};

/// The baseline of a generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// samples of the data itself
    Data,
}

impl Baseline for Reference {
    /// Excludes methods whose cost grows with the number of weights, and those that restart the discriminator.
    fn suits(entry: &Entry) -> bool {
        let unfit = ["fad", "rtho", "dense", "bda", "pbda", "ia-gm", "ia-gm-a", "iaptt"];
        [Family::Hypergradient, Family::Joint].contains(&entry.family)
            && entry.needs == Needs::Nothing
            && !unfit.contains(&entry.name)
    }
}

/// What the generator minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Game {
    /// How well its samples can be told from data
    NonSaturating,
    /// The negative loss of the discriminator
    MinMax,
}

/// The data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Eight Gaussians on a circle
    Ring,
    /// Images of digits: the embedded ones, or those of --data-dir
    Digits,
}

/// The settings of adversarial learning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, optionally with their own settings, such as rad(lower-steps=5); or all
    #[arg(long)]
    pub method: Methods<Chosen<Reference>>,
    /// What the generator minimises
    #[arg(long, value_enum)]
    pub game: Game,
    /// The data
    #[arg(long, value_enum)]
    pub data: Source,
    /// The lower steps of rad, trad and first-order: gd or adam
    #[arg(long)]
    pub dynamics: LowerDynamics,
    /// How many of these steps the discriminator keeps at each upper step, going on from the memory of its optimiser;
    /// the others look ahead [default: all, without a memory]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_steps: Option<Count>,
    /// b1 of Adam, at both levels; not of methods that move both levels themselves
    #[arg(long)]
    pub momentum: Share,
    /// Samples of data and of the generator at each evaluation
    #[arg(long)]
    pub batch: Count,
    /// Dimension of the noise
    #[arg(long)]
    pub noise: Count,
    /// Units of a hidden layer: of two in the generator, of one in the discriminator
    #[arg(long)]
    pub hidden: Count,
    /// Samples per evaluation
    #[arg(long)]
    pub samples: Count,
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

    /// Every hypergradient moves the generator by Adam.
    fn reads(method: &Chosen<Reference>, setting: &str) -> bool {
        let moved = |method: &Catalogued| method.entry.family == Family::Hypergradient;
        let by_adam = matches!(method, Chosen::Bilevel(method) if moved(method));
        method.reads().contains(&setting) || (setting == "momentum" && by_adam)
    }

    fn check(&self) -> Result<(), BenchError> {
        if self.data == Source::Ring {
            let expected = "--data digits, which alone reads it";
            self.common.refuse_data_dir(expected, "give both, or leave it out")?;
        }
        self.check_auto()?;
        self.method.iter().try_for_each(|method| match method {
            Chosen::Bilevel(method) => self.check_kept(method),
            Chosen::Baseline(_) => Ok(()),
        })
    }
}

impl Settings {
    /// The settings of the catalogue of methods from these.
    pub fn of_methods(&self) -> catalogue::Settings {
        catalogue::Settings {
            dynamics: self.dynamics,
            kept_steps: self.kept_steps.map_or(0, Count::get),
            momentum: self.momentum.get(),
            ..self.linear.of_methods(&self.lower, &self.upper)
        }
    }

    /// The methods among which one is chosen descend by gradient steps, all of them kept.
    fn check_auto(&self) -> Result<(), BenchError> {
        let as_tried = self.dynamics == LowerDynamics::Gd && self.kept_steps.is_none();
        if as_tried || !self.method.is_open() {
            return Ok(());
        }
        let kept =
            self.kept_steps.map_or(String::new(), |kept| format!(" --kept-steps {}", kept.get()));
        Err(refuse(
            "--method",
            format!("auto with --dynamics {}{kept}", self.dynamics),
            "--dynamics gd without --kept-steps, which is what auto tries",
            "name the methods, or leave these settings and the presets that have them out",
        ))
    }

    /// A method keeps at most the lower steps that it makes.
    fn check_kept(&self, method: &Catalogued) -> Result<(), BenchError> {
        let catalogue::Settings { kept_steps, lower_steps, .. } = method.of(&self.of_methods())?;
        if kept_steps <= lower_steps || !method.entry.reads.contains(&"kept-steps") {
            return Ok(());
        }
        Err(refuse(
            "--kept-steps",
            format!("{kept_steps}, and {} makes {lower_steps} lower steps", method.name()),
            "at most the --lower-steps of each method that keeps some",
            "give fewer --kept-steps or more --lower-steps, also in the parentheses of a method",
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::experiments::Complete;

    /// What is wrong with settings of `gan`; nothing if they go together.
    fn refused(given: &str) -> Option<String> {
        let mut given: toml::Table = given.parse().unwrap();
        given.insert("device".into(), "flex".into());
        Complete::given("gan", &given).err().map(|error| error.to_string())
    }

    fn assert_refused(given: &str, says: &str) {
        let error = refused(given).unwrap_or_else(|| panic!("{given}: accepted"));
        assert!(error.contains(says), "{given}: {error}");
    }

    #[test]
    fn a_method_keeps_at_most_the_steps_that_it_makes() {
        let says = "--kept-steps is 2, and rad(lower-steps = 1) makes 1 lower steps";
        assert_refused("kept-steps = 2", says);
        assert_refused("method = \"rad(kept-steps = 9)\"", "--kept-steps is 9, and rad");
        assert_refused("method = \"cg,rad\"\nkept-steps = 2\nlower-steps = 1", "--kept-steps is 2");
        assert_eq!(refused("method = \"cg,rad\"\nkept-steps = 2"), None);
    }

    #[test]
    fn auto_does_not_override_the_steps_that_are_asked_for() {
        for given in ["dynamics = \"adam\"", "kept-steps = 1", "preset = \"ring\""] {
            assert_refused(&format!("{given}\nmethod = \"auto\""), "--method is auto with");
        }
        assert_eq!(refused("method = \"auto\""), None);
    }

    #[test]
    fn momentum_is_read_by_every_hypergradient_and_by_no_other_method() {
        assert_refused("momentum = 0.5\nmethod = \"nsgame\"", "none of nsgame reads it");
        assert_refused("momentum = 0.5\nmethod = \"data\"", "none of data reads it");
        assert_eq!(refused("momentum = 0.5\nmethod = \"nsgame,cg\""), None);
    }

    #[test]
    fn a_dynamics_is_one_of_those_that_are_named() {
        assert_refused("dynamics = \"sgd\"", "expected `gd` or `adam`");
    }
}
