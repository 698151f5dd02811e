//! Settings.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Configured, Method};
use crate::error::BenchError;
use crate::settings::{
    Common, Count, LowerLevel, Methods, NonNegative, Offered, Positive, Share, UpperLevel, refuse,
};
use bilevel_data::episodes::Way;

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// Blocks of 3x3 convolution, normalisation, ReLU and 2x2 max-pooling
    Convnet,
    /// Four residual blocks of three 3x3 convolutions
    Resnet12,
}

/// The settings of few-shot classification.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, each perhaps with settings of its own, as rad(lower-steps=5); or all, or auto
    #[arg(long)]
    pub method: Methods<Configured>,
    /// The network
    #[arg(long, value_enum)]
    pub network: NetworkName,
    /// Channels of its first block
    #[arg(long)]
    pub width: Count,
    /// Blocks of the convnet
    #[arg(long)]
    pub blocks: Count,
    /// Classes of a task
    #[arg(long)]
    pub way: Count,
    /// Support images per class
    #[arg(long)]
    pub shot: Count,
    /// Query images per class
    #[arg(long)]
    pub query: Count,
    /// Tasks per upper step
    #[arg(long)]
    pub meta_batch: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub lower: LowerLevel,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub upper: UpperLevel,
    /// Rotations of each class that count as additional classes, by 0, 90, 180 and 270 degrees: 1 to 4
    #[arg(long)]
    pub rotations: Count,
    /// Height and width of images read from PNG and JPEG files
    #[arg(long)]
    pub side: Count,
    /// Channels of such images: 1 for grey, 3 for colours
    #[arg(long)]
    pub channels: Count,
    /// Whether training images are cropped at random (4 pixels of margin) and reflected
    #[arg(long, action = clap::ArgAction::Set)]
    #[serde(default)]
    pub augment: bool,
    /// Test tasks at the end
    #[arg(long)]
    pub test_tasks: Count,
    /// Lower steps on a test task
    #[arg(long)]
    pub test_steps: Count,
    /// Evaluations on test tasks during the run, for the curves
    #[arg(long)]
    pub looks: Count,
    /// Test tasks per evaluation
    #[arg(long)]
    pub look_tasks: Count,
    /// An accuracy; the report says which evaluation reached it first
    #[arg(long)]
    pub target: Share,
    /// The number of last lower steps through which trad goes back
    #[arg(long)]
    pub truncated: Count,
    /// Weight of F in the first lower step of bda; it decreases as 1 / k
    #[arg(long)]
    pub aggregation: Positive,
    /// Step size of the start of the head that iaptt learns
    #[arg(long)]
    pub initial_rate: Positive,
    /// The first penalty of penalty
    #[arg(long)]
    pub gamma: Positive,
    /// Step size of the linear system of approx-grad, by Adam
    #[arg(long)]
    pub solver_rate: Positive,
    /// Iterations of a linear solver
    #[arg(long)]
    pub solver_iterations: Count,
    /// Damping of a linear system
    #[arg(long)]
    pub damping: NonNegative,
    /// The weight mu of mu/2 norm(y - x)^2 in imaml
    #[arg(long)]
    pub proximity: Positive,
    /// The norm to which features are scaled, which bounds the curvature of the lower loss; 0 leaves them unscaled
    #[arg(long)]
    pub feature_norm: NonNegative,
    /// The weight of the norm of the head in the lower loss; 0 for none
    #[arg(long)]
    pub regularisation: NonNegative,
    /// The exponent q of that norm, as (norm(y)^2 + 1e-6)^(q/2)
    #[arg(long)]
    pub exponent: Share,
    /// The tasks of a meta-batch, which are divided among the ranks of MPI, a power of two for each; as many as
    /// --meta-batch [default: one process]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<Count>,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl NetworkName {
    /// The number of poolings that halve the images.
    fn poolings(self, blocks: usize) -> usize {
        match self {
            Self::Convnet => blocks,
            Self::Resnet12 => 4,
        }
    }
}

impl Settings {
    /// Whether the network takes images of a shape.
    ///
    /// # Errors
    /// If they are too small for its poolings.
    pub fn check_images(&self, [_, height, width]: [usize; 3]) -> Result<(), BenchError> {
        let poolings = self.network.poolings(self.blocks.get());
        let side = height.min(width);
        let least = 1_usize.checked_shl(poolings as u32).unwrap_or(usize::MAX);
        if side >= least {
            return Ok(());
        }
        let found = format!("{poolings}, on images of {height}x{width}");
        let expected = format!("images of at least {least}x{least}, which each block halves");
        Err(refuse("--blocks", found, &expected, "take fewer blocks, or larger images"))
    }

    /// The size of a task.
    pub fn way(&self) -> Way {
        Way { way: self.way.get(), shot: self.shot.get(), query: self.query.get() }
    }
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Configured);

    fn check(&self) -> Result<(), BenchError> {
        if self.rotations.get() > 4 {
            let cure = "1 is for none, 4 for all";
            return Err(refuse("--rotations", self.rotations, "at most 4", cure));
        }
        if ![1, 3].contains(&self.channels.get()) {
            let cure = "1 is for grey, 3 for colours";
            return Err(refuse("--channels", self.channels, "1 or 3", cure));
        }
        if let Some(shards) = self.shards.filter(|shards| *shards != self.meta_batch) {
            let expected = format!("{}, the tasks of a meta-batch", self.meta_batch);
            let cure = "each task is a shard: take another, or another --meta-batch";
            return Err(refuse("--shards", shards, &expected, cure));
        }
        for method in self.method.iter() {
            let Self { truncated, lower, .. } = method.of(self)?;
            let (truncated, steps) = (truncated.get(), lower.lower_steps.get());
            if method.method == Method::Trad && truncated > steps {
                let expected = format!("at most {steps}, the number of lower steps");
                return Err(refuse("--truncated", truncated, &expected, "give fewer"));
            }
            let is_warped = [Method::TNet, Method::WarpGrad].contains(&method.method);
            if self.network == NetworkName::Resnet12 && is_warped {
                let found = format!("resnet12, with {}", method.name());
                let expected = "convnet, whose blocks have the further layers of this method";
                return Err(refuse("--network", found, expected, "take --network convnet"));
            }
        }
        Ok(())
    }
}
