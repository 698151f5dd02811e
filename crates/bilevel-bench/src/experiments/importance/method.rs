//! The methods of this experiment.

use clap::ValueEnum;

use crate::settings::offered;

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// baseline: trained on correct labels and on the validation set
    #[value(alias = "oracle")]
    CleanLabels,
    /// baseline: trained on the validation set
    ValOnly,
    /// baseline: trained on all labels, wrong ones included
    TrainVal,
    /// the lower gradient as a penalty
    Penalty,
    /// implicit function theorem, by gradient descent on the linear system
    ApproxGrad,
    /// back through all lower steps (reverse mode)
    Rad,
}

offered!(Method, {
    Self::Penalty => &["gamma"],
    Self::ApproxGrad => &["solver-rate", "solver-iterations", "damping"],
});
