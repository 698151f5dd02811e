//! The methods of this experiment.

use clap::ValueEnum;

use crate::settings::offered;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// x the features, y a head: back through all lower steps (reverse mode, RHG)
    #[value(alias = "rhg")]
    Rad,
    /// features: back through the last M lower steps (truncated, T-RHG)
    #[value(alias = "t-rhg")]
    Trad,
    /// features: back through lower steps that descend both losses
    Bda,
    /// features: through the first m lower steps, to where F is greatest; the start of the head is learned
    Iaptt,
    /// features: the squared lower gradient as a growing penalty
    Penalty,
    /// features: implicit, by Adam on the linear system
    ApproxGrad,
    /// features: implicit, by conjugate gradients
    Cg,
    /// features, and the start of the head: back through all lower steps
    Anil,
    /// x the start of a network y: implicit, with y kept near x
    Imaml,
    /// start: back through all lower steps
    Maml,
    /// start: maml without second derivatives
    Fomaml,
    /// start: x follows the lower steps from it
    Reptile,
    /// start, and a step size for every weight
    MetaSgd,
    /// start, and linear layers after those that the lower steps move
    TNet,
    /// start, and linear maps of the gradients of every layer
    MetaCurvature,
    /// start, and convolutions between the layers that the lower steps move
    #[value(name = "warpgrad")]
    WarpGrad,
    /// baseline, not a bilevel method: the nearest class mean among the features
    Protonet,
}

impl Method {
    /// Whether y is a whole network that starts at x, and not a head on features.
    pub fn adapts_network(self) -> bool {
        use Method::{Fomaml, Imaml, Maml, MetaCurvature, MetaSgd, Reptile, TNet, WarpGrad};
        matches!(self, Imaml | Maml | Fomaml | Reptile | MetaSgd | TNet | MetaCurvature | WarpGrad)
    }
}

offered!(Method, {
    Self::Rad | Self::Anil => &["feature-norm", "regularisation", "exponent"],
    Self::Trad => &["truncated", "feature-norm", "regularisation", "exponent"],
    Self::Bda => &["aggregation", "feature-norm", "regularisation", "exponent"],
    Self::Iaptt => &["initial-rate", "feature-norm", "regularisation", "exponent"],
    Self::Penalty => &["gamma", "feature-norm", "regularisation", "exponent"],
    Self::ApproxGrad => &[
        "solver-rate",
        "solver-iterations",
        "damping",
        "feature-norm",
        "regularisation",
        "exponent",
    ],
    Self::Cg => &["solver-iterations", "damping", "feature-norm", "regularisation", "exponent"],
    Self::Protonet => &["feature-norm"],
    Self::Imaml => &["proximity", "solver-iterations"],
});
