//! Settings, and the methods of this experiment.

use bilevel_core::catalogue::{self, Family, Needs};
use bilevel_models::{Activation, ClassifierConfig, MlpConfig, SoftmaxRegressionConfig};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::settings::{
    Catalogued, Common, Count, LowerLevel, Methods, NonNegative, Offered, Positive, Share, Split,
    UpperLevel, refuse,
};
use bilevel_data::Dataset;

/// Units of the hidden layer.
const HIDDEN: usize = 300;

/// A classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// Softmax regression
    Softmax,
    /// One hidden layer of 300 ReLU units
    Mlp,
    /// Two linear layers, with 300 units between them and no activation
    Linear,
}

impl NetworkName {
    /// The network for samples like those of `set`.
    pub fn config(self, set: &Dataset) -> ClassifierConfig {
        let (features, classes) = (set.features(), set.classes());
        match self {
            Self::Softmax => {
                ClassifierConfig::Softmax(SoftmaxRegressionConfig::new(features, classes))
            }
            Self::Mlp => ClassifierConfig::Mlp(MlpConfig::new(vec![features, HIDDEN, classes])),
            Self::Linear => {
                let config = MlpConfig::new(vec![features, HIDDEN, classes]);
                ClassifierConfig::Mlp(config.with_activation(Activation::Identity))
            }
        }
    }

    /// The widest layer behind the inputs.
    pub fn hidden(self, set: &Dataset) -> usize {
        match self {
            Self::Softmax => set.classes(),
            Self::Mlp | Self::Linear => HIDDEN.max(set.classes()),
        }
    }
}

/// The settings of hyper-cleaning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, optionally with their own settings, such as cg(damping=0.1); all of them; or auto,
    /// which chooses one from probes on the problem
    #[arg(long)]
    pub method: Methods<Method>,
    /// The classifier
    #[arg(long, value_enum)]
    pub network: NetworkName,
    /// Share of training labels that are made wrong
    #[arg(long)]
    pub noise: Share,
    /// Weight of the squared norm of the classifier in F
    #[arg(long)]
    pub decay: NonNegative,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub split: Split,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    /// The number of last lower steps through which trad goes back [default: 25, or all if there are fewer]
    #[arg(long)]
    pub truncated: Option<Count>,
    /// Weight of the upper loss in the first lower step of bda; it decreases as 1/k
    #[arg(long)]
    pub aggregation: Share,
    /// Maximal number of iterations of a linear solver
    #[arg(long)]
    pub solver_iterations: Count,
    /// Relative residual at which a linear solver stops
    #[arg(long)]
    pub tolerance: Positive,
    /// Damping of a linear system whose matrix is not positive definite
    #[arg(long)]
    pub damping: NonNegative,
    /// At the end, also trains a classifier from its initial weights, by 1000 steps of gradient descent, on the
    /// validation samples and on the training samples whose weight is greater than this, all alike
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_above: Option<Share>,
    /// Equal parts of the data of each level, divided among the ranks of MPI: their number times a power of two [default:
    /// 1, for one process]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Count>,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);

    fn complete(&mut self) -> Result<(), BenchError> {
        let most = Count::at_least_one(self.lower.lower_steps.get().min(25));
        self.truncated.get_or_insert(most);
        Ok(())
    }

    fn check(&self) -> Result<(), BenchError> {
        let samples = [self.split.train.get(), self.split.validation.get()];
        if samples.iter().any(|samples| !samples.is_multiple_of(self.shards())) {
            let [train, validation] = samples;
            let expected = format!(
                "a divisor of the {train} training and the {validation} validation samples"
            );
            let cure = "take another, or other --train and --validation";
            return Err(refuse("--shards", self.shards(), &expected, cure));
        }
        match self.truncated {
            Some(truncated) if truncated > self.lower.lower_steps => {
                let expected = format!("at most the {} lower steps", self.lower.lower_steps);
                Err(refuse(
                    "--truncated",
                    truncated,
                    &expected,
                    "reduce it, or raise --lower-steps",
                ))
            }
            _ => Ok(()),
        }
    }
}

impl Settings {
    /// The parts of the data.
    pub fn shards(&self) -> usize {
        self.shards.map_or(1, Count::get)
    }

    /// The settings of the catalogue of methods from these.
    pub fn of_methods(&self) -> catalogue::Settings {
        catalogue::Settings {
            lower_steps: self.lower.lower_steps.get(),
            step_size: self.lower.step_size.get(),
            // F and f are means: an entry of a hypergradient is of the order of 1 / n.
            learning_rate: self.upper.learning_rate.get() * self.split.train.get() as f64,
            truncated: self.truncated.map_or(usize::MAX, Count::get),
            aggregation: self.aggregation.get(),
            solver_iterations: self.solver_iterations.get(),
            tolerance: self.tolerance.get(),
            damping: self.damping.get(),
            warm_start: false,
            period: 1,
            ..catalogue::Settings::default()
        }
    }
}

/// A method.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Baseline: trained on all labels, wrong ones included.
    Noisy,
    /// Baseline: trained on correct labels only.
    CleanLabels,
    /// Of the catalogue.
    Bilevel(Catalogued),
}

impl Offered for Method {
    /// Excludes `fad`, `rtho` and `dense`, whose cost grows with the dimension of x or y; `alternating` and
    /// `first-order`, which use only F_x, which is 0; and `pbda`, which needs the worst of many solutions.
    fn all() -> Vec<Self> {
        let families = [Family::Hypergradient, Family::Joint];
        let unfit = ["fad", "rtho", "dense", "pbda", "alternating", "first-order"];
        let fits = |entry: &&catalogue::Entry| {
            families.contains(&entry.family)
                && entry.needs == Needs::Nothing
                && !unfit.contains(&entry.name)
        };
        let bilevel = catalogue::all().filter(fits).map(Catalogued::new).map(Self::Bilevel);
        [Self::Noisy].into_iter().chain(bilevel).chain([Self::CleanLabels]).collect()
    }

    fn name(&self) -> String {
        match self {
            Self::Noisy => "noisy".into(),
            Self::CleanLabels => "clean-labels".into(),
            Self::Bilevel(method) => method.name(),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Bilevel(method) => method.entry.is_called(name),
            // Its former name.
            Self::CleanLabels if name.eq_ignore_ascii_case("oracle") => true,
            _ => self.name().eq_ignore_ascii_case(name),
        }
    }

    fn summary(&self) -> String {
        match self {
            Self::Noisy => "baseline: trained on all labels, wrong ones included".into(),
            Self::CleanLabels => "baseline: trained on the right labels only".into(),
            Self::Bilevel(method) => method.entry.summary.into(),
        }
    }

    fn reads(&self) -> &'static [&'static str] {
        match self {
            Self::Bilevel(method) => method.entry.reads,
            _ => &[],
        }
    }

    fn with(self, settings: toml::Table) -> Result<Self, String> {
        match self {
            Self::Bilevel(method) => method.with(settings).map(Self::Bilevel),
            _ if settings.is_empty() => Ok(self),
            _ => Err(format!("`{}` is a baseline, which takes no settings", self.name())),
        }
    }
}
