//! Settings: what the command line gives, completed and checked.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Args, Method};
use crate::backend::BackendName;
use crate::error::BenchError;
use crate::experiments::importance::ModelName;
use crate::settings::{check_counts, check_not_negative, check_positive, refuse};

/// What is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// The accuracy on everything, by poisons of any image and wrong labels
    Untargeted,
    /// One target after the other, by one poison that is like its base and has the right label
    CleanLabel,
}

/// All settings of a run, as `settings.toml` has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The folder of the data; none for the embedded digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The attack.
    pub attack: Attack,
    /// The methods, in the order of the run.
    #[serde(rename = "method")]
    pub methods: Vec<Method>,
    /// The network whose representation clean-label sees.
    pub model: ModelName,
    /// Training samples.
    pub train: usize,
    /// Validation samples; of clean-label those that targets and bases are of.
    pub validation: usize,
    /// Poisons of untargeted.
    pub poisons: usize,
    /// Targets of clean-label.
    pub targets: usize,
    /// The two classes of clean-label.
    pub classes: [u32; 2],
    /// Bounds of clean-label, rising.
    pub epsilons: Vec<f64>,
    /// Weight of the collision term of clean-label.
    pub collision: f64,
    /// Step size of collision.
    pub collision_rate: f64,
    /// Weight d of the classifier's squared norm.
    pub decay: f64,
    /// Lower steps T between two upper steps.
    pub steps: usize,
    /// Upper steps.
    pub upper_steps: usize,
    /// Lower step size.
    pub step_size: f64,
    /// Step size of the poisons.
    pub learning_rate: f64,
    /// The first penalty.
    pub gamma: f64,
    /// Step size of the linear system, by Adam.
    pub linear_rate: f64,
    /// The seed.
    pub seed: u64,
    /// The backend asked for.
    pub backend: BackendName,
}

/// What suits an attack: found by trying, on the digits. Sizes are those of the digits and of a folder.
struct Tuned {
    methods: Vec<Method>,
    train: [usize; 2],
    validation: [usize; 2],
    upper_steps: usize,
    step_size: f64,
    learning_rate: f64,
    gamma: f64,
    decay: f64,
}

impl Settings {
    /// Completes what the command line gives.
    ///
    /// # Errors
    /// If a setting is outside its range, or a method does not fit the attack. Whether the data has enough samples
    /// is seen later.
    pub fn new(args: &Args) -> Result<Self, BenchError> {
        use Method::*;
        let common = &args.common;
        let digits = common.data_dir.is_none();
        let attack = args.attack.unwrap_or(Attack::Untargeted);
        let tuned = match attack {
            Attack::Untargeted => Tuned {
                methods: vec![Clean, Flipped, Rad, ApproxGrad, Penalty],
                train: [500, 1000],
                validation: [500, 1000],
                upper_steps: 150,
                step_size: 1.0,
                learning_rate: 0.1,
                gamma: 100.0,
                decay: 0.0,
            },
            Attack::CleanLabel => Tuned {
                methods: vec![Collision, Rad, ApproxGrad, Penalty, PenaltyProjected],
                train: [20, 50],
                validation: [150, 300],
                upper_steps: 60,
                step_size: 3.0,
                learning_rate: 0.3,
                gamma: 1.0,
                decay: 1e-3,
            },
        };
        let epsilons = match digits {
            true => vec![0.5, 1.0, 1.5, 2.0, 2.5],
            false => vec![2.0, 4.0, 6.0, 8.0],
        };
        let given =
            |given: &[f64], default| if given.is_empty() { default } else { given.to_vec() };
        let size = |sizes: [usize; 2]| sizes[usize::from(!digits)];
        let train = args.train.unwrap_or(size(tuned.train));
        let settings = Self {
            data_dir: common.data_dir.clone(),
            attack,
            methods: if args.methods.is_empty() { tuned.methods } else { args.methods.clone() },
            model: args.model.unwrap_or(ModelName::Small),
            train,
            validation: args.validation.unwrap_or(size(tuned.validation)),
            poisons: args.poisons.unwrap_or(train.div_ceil(20)),
            targets: args.targets.unwrap_or(10),
            classes: args.classes.clone().try_into().unwrap_or([4, 9]),
            epsilons: given(&args.epsilons, epsilons),
            collision: args.collision.unwrap_or(1.0),
            collision_rate: args.collision_rate.unwrap_or(0.3),
            decay: args.decay.unwrap_or(tuned.decay),
            steps: args.steps.unwrap_or(20),
            upper_steps: args.upper_steps.unwrap_or(tuned.upper_steps),
            step_size: args.step_size.unwrap_or(tuned.step_size),
            learning_rate: args.learning_rate.unwrap_or(tuned.learning_rate),
            gamma: args.gamma.unwrap_or(tuned.gamma),
            linear_rate: args.linear_rate.unwrap_or(1e-2),
            seed: common.seed.unwrap_or(0),
            backend: common.backend.unwrap_or(BackendName::Auto),
        };
        settings.check()?;
        Ok(settings)
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
        if let Some(other) = self.methods.iter().find(|method| others.contains(method)) {
            return Err(refuse("--method", other.name(), expected, "take another --attack"));
        }
        let rise = self.epsilons.windows(2).all(|pair| pair[0] < pair[1]);
        if !rise {
            let found = format!("{:?}", self.epsilons);
            return Err(refuse("--epsilon", found, "rising bounds", "sort them"));
        }
        let [first, second] = self.classes;
        if first == second {
            let found = format!("{first},{second}");
            return Err(refuse("--classes", found, "two classes", "give another one"));
        }
        // The representation is scaled by the spread of the samples.
        if self.attack == Attack::CleanLabel && self.train < 2 {
            let expected = "2 training samples or more for clean-label";
            return Err(refuse("--train", self.train, expected, "give more, 20 for one"));
        }
        check_counts(&[
            ("--train", self.train),
            ("--validation", self.validation),
            ("--poisons", self.poisons),
            ("--targets", self.targets),
            ("--steps", self.steps),
            ("--upper-steps", self.upper_steps),
        ])?;
        check_positive(&[
            ("--step-size", self.step_size),
            ("--learning-rate", self.learning_rate),
            ("--collision-rate", self.collision_rate),
            ("--gamma", self.gamma),
            ("--linear-rate", self.linear_rate),
        ])?;
        for &bound in &self.epsilons {
            check_positive(&[("--epsilon", bound)])?;
        }
        check_not_negative("--decay", self.decay, "0.001 is a fair weight")?;
        check_not_negative("--collision", self.collision, "1 is a fair weight")
    }
}
