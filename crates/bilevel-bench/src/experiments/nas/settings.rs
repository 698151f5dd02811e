//! Settings, and the methods of this experiment.

use bilevel_core::catalogue::{self, Entry, Family, Needs};
use bilevel_models::{CellGraph, CellNetworkConfig};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::settings::{
    Baseline, Chosen, Common, Count, LinearSystem, LowerLevel, Methods, NonNegative, Positive,
    Split, UpperLevel, refuse,
};
use bilevel_data::Images;

/// The baselines of a cell found by search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// random cells: the median
    Random,
    /// identities on all edges
    Skip,
}

impl Baseline for Reference {
    /// Excludes methods whose cost grows with the number of logits or weights, and those that restart the weights.
    fn suits(entry: &Entry) -> bool {
        let unfit = ["fad", "rtho", "dense", "bda", "pbda", "ia-gm", "ia-gm-a", "iaptt"];
        [Family::Hypergradient, Family::Joint].contains(&entry.family)
            && entry.needs == Needs::Nothing
            && !unfit.contains(&entry.name)
    }
}

/// The settings of architecture search.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Methods, separated by commas, optionally with their own settings, such as rad(lower-steps=5); or all
    #[arg(long)]
    pub method: Methods<Chosen<Reference>>,
    /// Inner nodes of a cell
    #[arg(long)]
    pub nodes: Count,
    /// Stages of cells, with a reduction cell between two of them
    #[arg(long)]
    pub stages: Count,
    /// Normal cells of a stage
    #[arg(long)]
    pub cells: Count,
    /// Channels of a node in the first stage of the network used in the search
    #[arg(long)]
    pub channels: Count,
    /// The stride of the convolution before the cells
    #[arg(long)]
    pub stem_stride: Count,
    /// In the search, one in this many channels passes through the operations of an edge, which has its own logit
    /// (PC-DARTS); 1 for all
    #[arg(long)]
    pub partial: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub split: Split,
    /// Maximal number of test samples [default: all]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Count>,
    /// Samples per batch
    #[arg(long)]
    pub batch: Count,
    /// Decay of the weights
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
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub linear: LinearSystem,
    /// Channels of a node in the first stage of a network trained with a chosen cell
    #[arg(long)]
    pub retrain_channels: Count,
    /// Steps of Adam of that training
    #[arg(long)]
    pub retrain_steps: Count,
    /// Its initial learning rate; it decreases to a tenth and a hundredth after 3/4 and 9/10 of the steps
    #[arg(long)]
    pub retrain_rate: Positive,
    /// Number of random cells
    #[arg(long)]
    pub random: Count,
    /// How often hypergradients are compared with that of the reference [default: never]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub angles: Option<Count>,
    /// Lower steps of the reference
    #[arg(long)]
    pub reference_steps: Count,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}

impl crate::settings::Settings for Settings {
    crate::settings::of_fields!(Chosen<Reference>);

    fn check(&self) -> Result<(), BenchError> {
        if !self.channels.get().is_multiple_of(self.partial.get()) {
            let found = format!("{}, of {} channels", self.partial, self.channels);
            let cure = "take another number of --channels, or of these";
            return Err(refuse("--partial", found, "a divisor of the channels", cure));
        }
        Ok(())
    }
}

impl Settings {
    /// The settings of the catalogue of methods from these.
    pub fn of_methods(&self) -> catalogue::Settings {
        self.linear.of_methods(&self.lower, &self.upper)
    }

    /// The network used in the search.
    pub fn searched(&self, set: &Images) -> CellNetworkConfig {
        let mixed = || CellGraph::mixed(self.nodes.get());
        self.network(set, (mixed(), mixed()))
            .with_channels(self.channels.get())
            .with_partial(self.partial.get())
            .with_affine(false)
    }

    /// A network trained with chosen cells, the normal one and the reduction cell.
    pub fn chosen(&self, set: &Images, cells: (CellGraph, CellGraph)) -> CellNetworkConfig {
        self.network(set, cells).with_channels(self.retrain_channels.get())
    }

    fn network(
        &self,
        set: &Images,
        (normal, reduction): (CellGraph, CellGraph),
    ) -> CellNetworkConfig {
        CellNetworkConfig::new(set.shape()[0], set.classes(), normal, reduction)
            .with_stages(self.stages.get())
            .with_cells(self.cells.get())
            .with_stem_stride(self.stem_stride.get())
    }
}
