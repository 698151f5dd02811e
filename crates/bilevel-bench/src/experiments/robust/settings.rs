//! Settings.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::Training;
use crate::error::BenchError;
use crate::experiments::networks::Residual;
use crate::settings::{
    Common, Count, Methods, NonNegative, Offered, Positive, Share, absolute, refuse,
};

/// What is learned besides the network, which distinguishes the two experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `mwn`, weights of samples.
    Weights,
    /// `mlc`, the transition matrix of labels.
    Transition,
}

/// How a method lets x see its effect on y.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAhead {
    /// Not at all: a baseline.
    Plain,
    /// Through one step of all of the network.
    Virtual,
    /// Through the last of two steps of all of the network.
    Truncated,
    /// Through one step of its last layer.
    Game,
}

impl LookAhead {
    /// The corresponding f.
    pub fn training(self) -> Training {
        if self == Self::Plain { Training::Plain } else { Training::Corrected }
    }
}

/// How labels are made wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseKind {
    /// They are not
    None,
    /// Redrawn from all classes
    Uniform,
    /// To one of two other classes
    Flip,
    /// To one other class
    FlipToOne,
    /// As human annotators labelled the images
    Human,
}

/// The settings of `mwn` and `mlc`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", bound(serialize = "M: Offered", deserialize = "M: Offered"))]
pub struct Settings<M: Offered> {
    /// Methods, separated by commas, or all
    #[arg(long)]
    pub method: Methods<M>,
    /// The network
    #[arg(long, value_enum)]
    pub network: Residual,
    /// The ratio of the first class's size to the last, those between in geometric steps; other than 1, labels are
    /// right unless --noise-kind says otherwise
    #[arg(long)]
    pub imbalance: Positive,
    /// How labels are made wrong
    #[arg(long, value_enum)]
    pub noise_kind: NoiseKind,
    /// The share of labels that are made wrong: the probability of each
    #[arg(long)]
    pub noise: Share,
    /// Human labels of the whole training set, an IDX file; for the noise human
    #[arg(long, value_parser = crate::settings::text_path())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub human_labels: Option<PathBuf>,
    /// Clean images of each class
    #[arg(long)]
    pub clean: Count,
    /// Images per batch
    #[arg(long)]
    pub batch: Count,
    /// Passes through the training set
    #[arg(long)]
    pub epochs: Count,
    /// Maximal number of iterations [default: those of the passes]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<Count>,
    /// The two passes, counted from 0, before which the step sizes decrease to a tenth [default: after 4/5 and 9/10 of
    /// all]
    #[arg(long, value_delimiter = ',', num_args = 1..=2)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub falls: Option<Vec<usize>>,
    /// Step size of the network
    #[arg(long)]
    pub step_size: Positive,
    /// Step size of x, far below that of the network; it is constant
    #[arg(long)]
    pub learning_rate: Positive,
    /// Passes through the training set before x moves
    #[arg(long)]
    #[serde(default)]
    pub warm_up: usize,
    /// Momentum of both
    #[arg(long)]
    pub momentum: Share,
    /// Whether that is Nesterov's
    #[arg(long, action = clap::ArgAction::Set)]
    pub nesterov: bool,
    /// Weight decay of the network
    #[arg(long)]
    pub weight_decay: NonNegative,
    /// Weight decay of x
    #[arg(long)]
    pub upper_weight_decay: NonNegative,
    /// The part of the network through whose step the game sees x, by the path of a layer or of a group of layers
    /// [default: the last layer]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y2: Option<String>,
    /// Whether the game moves x first and takes the step of y at the new x, as the authors' programs do, and their
    /// equations do not
    #[arg(long, action = clap::ArgAction::Set)]
    #[serde(default)]
    pub x_first: bool,
    /// Timed steps of each method before the run; 0 for none
    #[arg(long)]
    pub repetitions: u16,
    /// Test images that are evaluated, drawn by the seed [default: all]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Count>,
    /// How often the test set is evaluated during a run
    #[arg(long)]
    pub evaluations: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl<M: Offered> crate::settings::Settings for Settings<M> {
    crate::settings::of_fields!(M);

    fn complete(&mut self) -> Result<(), BenchError> {
        let epochs = self.epochs.get();
        self.falls.get_or_insert_with(|| vec![epochs * 4 / 5, epochs * 9 / 10]);
        if let Some(file) = &mut self.human_labels {
            *file = absolute("--human-labels", file)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), BenchError> {
        let falls = self.falls.as_deref().unwrap_or_default();
        if falls.len() != 2 || falls[0] > falls[1] || falls[1] > self.epochs.get() {
            let found: Vec<_> = falls.iter().map(ToString::to_string).collect();
            let expected = format!("two passes in their order, of the {} there are", self.epochs);
            return Err(refuse("--falls", found.join(","), &expected, "give others"));
        }
        if self.warm_up >= self.epochs.get() {
            let expected = format!("fewer passes than the {} there are", self.epochs);
            return Err(refuse(
                "--warm-up",
                self.warm_up,
                &expected,
                "give fewer, or more --epochs",
            ));
        }
        if (self.noise_kind == NoiseKind::Human) != self.human_labels.is_some() {
            let found = if self.human_labels.is_some() { "a file" } else { "missing" };
            let expected = "a file of labels with --noise-kind human, and only there";
            return Err(refuse("--human-labels", found, expected, "give both or neither"));
        }
        Ok(())
    }
}

impl<M: Offered> Settings<M> {
    /// The passes before which step sizes decrease.
    pub fn falls(&self) -> [usize; 2] {
        match self.falls.as_deref() {
            Some(&[first, second]) => [first, second],
            _ => [usize::MAX; 2],
        }
    }
}
