//! The methods of this experiment.

use clap::ValueEnum;

use crate::settings::offered;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// back through all lower steps from x
    Maml,
    /// maml without second derivatives
    Fomaml,
    /// x follows the lower steps from it
    Reptile,
    /// implicit, with y kept near x
    Imaml,
    /// maml, and a step size for every weight
    MetaSgd,
    /// maml, and linear maps of the gradients of every layer
    MetaCurvature,
}

offered!(Method, {
    Self::Imaml => &["proximity", "solver-iterations"],
});
