//! Settings.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::Method;
use crate::error::BenchError;
use crate::experiments::networks::Plain;
use crate::settings::{
    Common, Count, LowerLevel, Methods, NonNegative, Offered, Positive, Split, UpperLevel, refuse,
};

/// What is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// The overall accuracy, by poisons from any images with wrong labels
    Untargeted,
    /// One target after the other, by one poison that resembles its base and has the right label
    CleanLabel,
}

/// The settings of poisoning.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// The attack
    #[arg(long, value_enum)]
    pub attack: Attack,
    /// Methods, separated by commas
    #[arg(long)]
    pub method: Methods<Method>,
    /// The network that gives the representation of clean-label
    #[arg(long, value_enum)]
    pub network: Plain,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub split: Split,
    /// Poisons of untargeted [default: one to 20 training samples]
    #[arg(long)]
    pub poisons: Option<Count>,
    /// Targets of clean-label, one attack each
    #[arg(long)]
    pub targets: Count,
    /// The two classes of clean-label
    #[arg(long, value_delimiter = ',', num_args = 1..=2)]
    pub classes: Vec<u32>,
    /// Bounds of clean-label, increasing
    #[arg(long, value_delimiter = ',')]
    pub epsilon: Vec<Positive>,
    /// Weight of the collision term of clean-label
    #[arg(long)]
    pub collision: NonNegative,
    /// Step size of collision, which descends only that term, with weight 1
    #[arg(long)]
    pub collision_rate: Positive,
    /// Weight d of the squared norm of the classifier, d/2 norm(y)^2
    #[arg(long)]
    pub decay: NonNegative,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    /// The first penalty of penalty and of penalty-projected
    #[arg(long)]
    pub gamma: Positive,
    /// The first weight of f in the steps of the classifier of these, which decreases to 0; of clean-label
    #[arg(long)]
    pub lambda: NonNegative,
    /// Step size of the linear system of approx-grad, by Adam
    #[arg(long)]
    pub solver_rate: Positive,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Method);

    fn complete(&mut self) -> Result<(), BenchError> {
        let one_to_twenty = Count::at_least_one(self.split.train.get().div_ceil(20));
        self.poisons.get_or_insert(one_to_twenty);
        Ok(())
    }

    fn check(&self) -> Result<(), BenchError> {
        use Method::*;
        let (others, expected): (&[Method], _) = match self.attack {
            Attack::Untargeted => {
                (&[Collision, PenaltyProjected], "clean, flipped, rad, approx-grad or penalty")
            }
            Attack::CleanLabel => {
                (&[Clean, Flipped], "collision, rad, approx-grad, penalty or penalty-projected")
            }
        };
        if let Some(other) = self.method.iter().find(|method| others.contains(method)) {
            return Err(refuse("--method", other.name(), expected, "take another --attack"));
        }
        if !self.epsilon.is_sorted_by(|a, b| a < b) || self.epsilon.is_empty() {
            let found: Vec<_> = self.epsilon.iter().map(ToString::to_string).collect();
            return Err(refuse("--epsilon", found.join(","), "rising bounds", "sort them"));
        }
        match self.classes[..] {
            [first, second] if first != second => {}
            _ => {
                let found: Vec<_> = self.classes.iter().map(ToString::to_string).collect();
                return Err(refuse("--classes", found.join(","), "two classes", "give two"));
            }
        }
        // The representation is scaled by the spread of the samples.
        let train = self.split.train;
        if self.attack == Attack::CleanLabel && train.get() < 2 {
            let expected = "2 training samples or more for clean-label";
            return Err(refuse("--train", train, expected, "give more, 20 for one"));
        }
        Ok(())
    }
}

impl Settings {
    /// The two classes of clean-label.
    pub fn two_classes(&self) -> [u32; 2] {
        [self.classes[0], self.classes[1]]
    }

    /// The number of poisons of untargeted.
    pub fn poisons(&self) -> usize {
        self.poisons.map_or(1, Count::get)
    }

    /// The bounds of clean-label.
    pub fn bounds(&self) -> Vec<f64> {
        self.epsilon.iter().map(|bound| bound.get()).collect()
    }
}
