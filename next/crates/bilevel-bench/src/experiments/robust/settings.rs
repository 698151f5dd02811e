//! Settings: what the command line gives, completed and checked.

use std::path::PathBuf;

use bilevel_models::{ImageClassifierConfig, ResNetConfig, WideResNetConfig};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Args, Training};
use crate::backend::BackendName;
use crate::data::Images;
use crate::error::BenchError;
use crate::settings::{check_counts, check_not_negative, check_positive, check_share, refuse};

/// What is learned beside the network: which of the two experiments it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `mwn`, weights of samples.
    Weights,
    /// `mlc`, the transition matrix of labels.
    Transition,
}

impl Subject {
    /// The experiment's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "mwn",
            Self::Transition => "mlc",
        }
    }
}

/// A method of these experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Baseline: train on what is given.
    Plain,
    /// mwn and mlc: through one step of all of the network.
    #[value(aliases = ["mwn", "mlc"])]
    VirtualStep,
    /// nsgame-mwn and nsgame-mlc: through one step of its last layer.
    #[value(name = "nsgame", aliases = ["nsgame-mwn", "nsgame-mlc"])]
    #[serde(rename = "nsgame")]
    NsGame,
}

impl Method {
    /// Its name in reports.
    pub fn name(self, subject: Subject) -> String {
        match self {
            Self::Plain => "plain".into(),
            Self::VirtualStep => subject.name().into(),
            Self::NsGame => format!("nsgame-{}", subject.name()),
        }
    }

    /// What it does, in a line.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Plain => "baseline: train on what is given",
            Self::VirtualStep => "learned through one step of the whole network",
            Self::NsGame => "learned through one step of the last layer",
        }
    }
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum NetworkName {
    /// Residual, 6 n + 2 layers with n = 1, 16 to 64 channels.
    #[value(name = "resnet-8")]
    #[serde(rename = "resnet-8")]
    ResNet8,
    /// n = 3.
    #[value(name = "resnet-20")]
    #[serde(rename = "resnet-20")]
    ResNet20,
    /// n = 5.
    #[value(name = "resnet-32")]
    #[serde(rename = "resnet-32")]
    ResNet32,
    /// Four stages, 64 to 512 channels.
    #[value(name = "resnet-18")]
    #[serde(rename = "resnet-18")]
    ResNet18,
    /// The same, deeper.
    #[value(name = "resnet-34")]
    #[serde(rename = "resnet-34")]
    ResNet34,
    /// Bottleneck blocks.
    #[value(name = "resnet-50")]
    #[serde(rename = "resnet-50")]
    ResNet50,
    /// The same, deeper.
    #[value(name = "resnet-101")]
    #[serde(rename = "resnet-101")]
    ResNet101,
    /// The same, deeper still.
    #[value(name = "resnet-152")]
    #[serde(rename = "resnet-152")]
    ResNet152,
    /// Wide, 10 layers, twice as wide.
    #[value(name = "wrn-10-2")]
    #[serde(rename = "wrn-10-2")]
    Wrn10x2,
    /// Wide, 28 layers, ten times as wide.
    #[value(name = "wrn-28-10")]
    #[serde(rename = "wrn-28-10")]
    Wrn28x10,
}

impl NetworkName {
    /// The network for images like those of `set`.
    pub fn config(self, set: &Images) -> ImageClassifierConfig {
        use ImageClassifierConfig::{ResNet, WideResNet};
        let (channels, classes) = (set.shape()[0], set.classes());
        let wide = || WideResNetConfig::new(channels, classes);
        match self {
            Self::ResNet8 => ResNet(ResNetConfig::new(channels, classes).with_blocks(vec![1; 3])),
            Self::ResNet20 => ResNet(ResNetConfig::resnet20(channels, classes)),
            Self::ResNet32 => ResNet(ResNetConfig::resnet32(channels, classes)),
            Self::ResNet18 => ResNet(ResNetConfig::resnet18(channels, classes)),
            Self::ResNet34 => ResNet(ResNetConfig::resnet34(channels, classes)),
            Self::ResNet50 => ResNet(ResNetConfig::resnet50(channels, classes)),
            Self::ResNet101 => ResNet(ResNetConfig::resnet101(channels, classes)),
            Self::ResNet152 => ResNet(ResNetConfig::resnet152(channels, classes)),
            Self::Wrn10x2 => WideResNet(wide().with_blocks(1).with_widening(2)),
            Self::Wrn28x10 => WideResNet(WideResNetConfig::wrn_28_10(channels, classes)),
        }
    }
}

/// How labels are made wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseName {
    /// They are not.
    None,
    /// Drawn anew among all classes.
    Uniform,
    /// To one of two other classes.
    Flip,
    /// To one other class.
    FlipToOne,
    /// What people said.
    Human,
}

/// Settings for CIFAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Those of the source: days of a processor.
    Paper,
    /// A smaller network for fewer passes, on two cores in minutes.
    Small,
}

/// All settings of a run, as `settings.toml` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The folder of CIFAR; none for the embedded digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The methods, in the order of the run.
    #[serde(rename = "method")]
    pub methods: Vec<Method>,
    /// The network.
    pub network: NetworkName,
    /// Size of the first class over that of the last.
    pub imbalance: f64,
    /// How labels are made wrong.
    pub noise: NoiseName,
    /// With which probability.
    pub noise_rate: f64,
    /// What people said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human_labels: Option<PathBuf>,
    /// Clean images of each class.
    pub clean: usize,
    /// Images of a batch.
    pub batch: usize,
    /// Passes.
    pub epochs: usize,
    /// Iterations at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<usize>,
    /// The passes before which step sizes fall to a tenth.
    pub falls: [usize; 2],
    /// Step size of y.
    pub step_size: f64,
    /// Step size of x.
    pub learning_rate: f64,
    /// Momentum of both.
    pub momentum: f64,
    /// Weight decay of y.
    pub weight_decay: f64,
    /// Timed steps.
    pub rounds: usize,
    /// Test images at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Looks at the test set.
    pub looks: usize,
    /// The seed.
    pub seed: u64,
    /// The backend asked for.
    pub backend: BackendName,
}

impl Settings {
    /// Completes what the command line gives: with a preset's settings, and defaults.
    ///
    /// # Errors
    /// If a setting is outside its range. Whether the data has enough samples is seen later.
    pub fn new(args: &Args, subject: Subject) -> Result<Self, BenchError> {
        let (common, paper) = (&args.common, args.preset == Some(Preset::Paper));
        let imbalance = args.imbalance.unwrap_or(1.0);
        let noise = args.noise.unwrap_or(match subject {
            _ if imbalance > 1.0 => NoiseName::None,
            Subject::Weights => NoiseName::Uniform,
            Subject::Transition => NoiseName::Flip,
        });
        // NSGame, Appendix B.2 and C; Meta-Weight-Net, Section 4.
        let (epochs, falls, clean) = match (subject, noise) {
            _ if !paper => (15, None, 10),
            (Subject::Transition, _) => (100, Some([80, 90]), 50),
            (Subject::Weights, NoiseName::None) => (100, Some([80, 90]), 10),
            (Subject::Weights, NoiseName::Uniform) => (40, Some([36, 38]), 100),
            (Subject::Weights, _) => (60, Some([40, 50]), 100),
        };
        let (network, learning_rate) = match (subject, paper) {
            (Subject::Weights, true) => (NetworkName::ResNet32, 1e-5),
            (Subject::Transition, true) => (NetworkName::Wrn28x10, 10.0),
            (Subject::Weights, false) => (NetworkName::ResNet8, 0.1),
            (Subject::Transition, false) => (NetworkName::ResNet8, 10.0),
        };
        let epochs = args.epochs.unwrap_or(epochs);
        let falls = match args.falls[..] {
            [first, second] => [first, second],
            _ => {
                falls.filter(|_| args.epochs.is_none()).unwrap_or([epochs * 4 / 5, epochs * 9 / 10])
            }
        };
        let settings = Self {
            data_dir: common.data_dir.clone(),
            methods: match args.methods[..] {
                [] => Method::value_variants().to_vec(),
                ref given => given.to_vec(),
            },
            network: args.network.unwrap_or(network),
            imbalance,
            noise,
            noise_rate: args.noise_rate.unwrap_or(0.4),
            human_labels: args.human_labels.clone(),
            clean: args.clean.unwrap_or(clean),
            batch: args.batch.unwrap_or(100),
            epochs,
            iterations: args.iterations,
            falls,
            step_size: args.step_size.unwrap_or(0.1),
            learning_rate: args.learning_rate.unwrap_or(learning_rate),
            momentum: args.momentum.unwrap_or(0.9),
            weight_decay: args.weight_decay.unwrap_or(5e-4),
            rounds: args.rounds.unwrap_or(5),
            test: args.test,
            looks: args.looks.unwrap_or(5),
            seed: common.seed.unwrap_or(0),
            backend: common.backend.unwrap_or(BackendName::Auto),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), BenchError> {
        check_counts(&[
            ("--clean", self.clean),
            ("--batch", self.batch),
            ("--epochs", self.epochs),
            ("--iterations", self.iterations.unwrap_or(1)),
            ("--test", self.test.unwrap_or(1)),
            ("--looks", self.looks),
        ])?;
        check_positive(&[
            ("--step-size", self.step_size),
            ("--learning-rate", self.learning_rate),
        ])?;
        check_share("--noise-rate", self.noise_rate, "0.4 is common")?;
        check_share("--momentum", self.momentum, "0.9 is common")?;
        check_not_negative("--weight-decay", self.weight_decay, "0.0005 is common")?;
        if (self.noise == NoiseName::Human) != self.human_labels.is_some() {
            let found = if self.human_labels.is_some() { "a file" } else { "missing" };
            let expected = "a file of labels with --noise human, and only there";
            return Err(refuse("--human-labels", found, expected, "give both or neither"));
        }
        Ok(())
    }

    /// What f is for a method.
    pub fn training(method: Method) -> Training {
        match method {
            Method::Plain => Training::Plain,
            Method::VirtualStep | Method::NsGame => Training::Corrected,
        }
    }
}
