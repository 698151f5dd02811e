//! The command line of this experiment.

use clap::Args as ClapArgs;

use super::{Attack, Method};
use crate::cli::Common;
use crate::experiments::importance::ModelName;

/// The settings of poisoning.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Args {
    /// The attack [default: untargeted]
    #[arg(long, value_enum)]
    pub attack: Option<Attack>,
    /// Methods, separated by commas [default: clean,flipped,rad,approx-grad,penalty; of clean-label
    /// collision,rad,approx-grad,penalty,penalty-projected]
    #[arg(long = "method", value_delimiter = ',', value_enum)]
    pub methods: Vec<Method>,
    /// The network whose representation clean-label sees [default: small]
    #[arg(long, value_enum)]
    pub model: Option<ModelName>,
    /// Training samples [default: 500 of the digits, else 1000; of clean-label 20, else 50]
    #[arg(long)]
    pub train: Option<usize>,
    /// Validation samples; of clean-label those that targets and bases are of [default: 500 of the digits,
    /// else 1000; of clean-label 150, else 300]
    #[arg(long)]
    pub validation: Option<usize>,
    /// Poisons of untargeted [default: one to 20 training samples]
    #[arg(long)]
    pub poisons: Option<usize>,
    /// Targets of clean-label, one attack each [default: 10]
    #[arg(long)]
    pub targets: Option<usize>,
    /// The two classes of clean-label [default: 4 9]
    #[arg(long, num_args = 2)]
    pub classes: Vec<u32>,
    /// Bounds of clean-label, rising [default: 0.5,1,1.5,2,2.5 of the digits, else 2,4,6,8]
    #[arg(long = "epsilon", value_delimiter = ',')]
    pub epsilons: Vec<f64>,
    /// Weight of the collision term of clean-label [default: 1]
    #[arg(long)]
    pub collision: Option<f64>,
    /// Step size of collision, which descends on that term alone, of weight 1 [default: 0.3]
    #[arg(long)]
    pub collision_rate: Option<f64>,
    /// Weight of the squared norm of the classifier, `d/2 norm(y)^2` [default: 0; of clean-label 0.001]
    #[arg(long)]
    pub decay: Option<f64>,
    /// Lower steps T between two upper steps [default: 20]
    #[arg(long)]
    pub steps: Option<usize>,
    /// Upper steps [default: 150; of clean-label 60]
    #[arg(long)]
    pub upper_steps: Option<usize>,
    /// Step size of the lower level [default: 1; of clean-label 3]
    #[arg(long)]
    pub step_size: Option<f64>,
    /// Step size of the poisons, of untargeted per sample [default: 0.1; of clean-label 0.3]
    #[arg(long)]
    pub learning_rate: Option<f64>,
    /// The first penalty of penalty [default: 100; of clean-label 1]
    #[arg(long)]
    pub gamma: Option<f64>,
    /// Step size of the linear system of approx-grad, by Adam [default: 0.01]
    #[arg(long)]
    pub linear_rate: Option<f64>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub common: Common,
}
