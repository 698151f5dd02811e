//! The methods of both experiments.

use clap::ValueEnum;

use super::LookAhead;
use crate::settings::offered;

/// A method of `mwn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MwnMethod {
    /// baseline: trained on the given labels
    Plain,
    /// weights learned through one step of the whole network
    #[value(alias = "virtual-step")]
    Mwn,
    /// weights learned through the last of two steps of the whole network: truncated back-propagation
    Tbp,
    /// weights learned through one step of the last layer
    #[value(name = "nsgame-mwn", alias = "nsgame")]
    NsGameMwn,
}

/// A method of `mlc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MlcMethod {
    /// baseline: trained on the given labels
    Plain,
    /// the matrix learned through one step of the whole network
    #[value(alias = "virtual-step")]
    Mlc,
    /// the matrix learned through the last of two steps of the whole network: truncated back-propagation
    Tbp,
    /// the matrix learned through one step of the last layer
    #[value(name = "nsgame-mlc", alias = "nsgame")]
    NsGameMlc,
}

offered!(MwnMethod, {
    Self::Mwn | Self::Tbp => &["warm-up"],
    Self::NsGameMwn => &["warm-up", "x-first", "y2"],
});
offered!(MlcMethod, {
    Self::Mlc | Self::Tbp => &["warm-up"],
    Self::NsGameMlc => &["warm-up", "x-first", "y2"],
});

impl From<MwnMethod> for LookAhead {
    fn from(method: MwnMethod) -> Self {
        match method {
            MwnMethod::Plain => Self::Plain,
            MwnMethod::Mwn => Self::Virtual,
            MwnMethod::Tbp => Self::Truncated,
            MwnMethod::NsGameMwn => Self::Game,
        }
    }
}

impl From<MlcMethod> for LookAhead {
    fn from(method: MlcMethod) -> Self {
        match method {
            MlcMethod::Plain => Self::Plain,
            MlcMethod::Mlc => Self::Virtual,
            MlcMethod::Tbp => Self::Truncated,
            MlcMethod::NsGameMlc => Self::Game,
        }
    }
}
