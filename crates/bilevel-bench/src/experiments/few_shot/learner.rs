//! What a method learns and how it performs on a task: one of the two families, ready to run.

use std::sync::Arc;

use bilevel_core::suggest::Choice;
use bilevel_core::{
    Aggregated, ApproxGrad, AutodiffOracle, BurnOptimizer, Cg, Descent, Diagonal, Error, Fomaml,
    Gd, Group, HypergradientMethod, HypergradientSolver, Iaptt, Imaml, Implicit, JointStep,
    Kronecker, LowerProblem, Maml, Objective, OnFeatures, Oracle, Penalty, PenaltySettings,
    Preconditioned, Rates, Reptile, Sample, Samples, Schedule, Solver, Start, Unrolled, Weight,
    catalogue,
};
use bilevel_models::{
    ConvNetConfig, ImageClassifier, ImageClassifierConfig, ResNet12Config, WarpsConfig, accuracy,
};
use bilevel_program::Vector;
use burn::module::Param;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};

use super::data::Tasks;
use super::features::{Direct, TaskFeatures};
use super::problem::{Adaptation, Extractor, Heads, Judge, Meta};
use super::{Configured, Method, NetworkName, Settings};
use crate::error::BenchError;
use crate::experiments::Auto;

/// The tolerance of the linear systems.
const SOLVED: f64 = 1e-3;
/// The tolerance at which the penalty grows.
const TOLERANCE: f64 = 1.0;
/// The factor by which the steps of y decrease each time that it does.
const FALL: f64 = 1.0 / 1.06;

/// A family, with its oracle.
#[expect(clippy::large_enum_variant, reason = "there is one of them a run")]
pub enum Learner {
    /// x is the features.
    Representation(TaskFeatures),
    /// x is the initialisation of a network.
    Initialisation(AutodiffOracle<Adaptation, Arc<Tasks>>),
}

type Boxed = Box<dyn HypergradientMethod>;

impl Learner {
    /// The initial x and y of a method; the network has the same initial weights for all.
    pub fn new(
        method: Method,
        settings: &Settings,
        tasks: Arc<Tasks>,
        shape: [usize; 3],
        device: &Device,
    ) -> Result<Self, Error> {
        device.seed(settings.common.seed);
        let config = network(settings, shape);
        if method.adapts_network() {
            let initial = config.init(device);
            let x = meta(method, settings, &initial, &config, device);
            return Ok(Self::Initialisation(AutodiffOracle::new(Adaptation, &x, &initial, tasks)?));
        }
        let way = settings.way.get();
        let judge = match method {
            Method::Protonet => Judge::NearestMean { way },
            _ => Judge::Head,
        };
        let heads = Heads {
            judge,
            regularisation: settings.regularisation.get(),
            exponent: settings.exponent.get(),
        };
        let body = config.init(device);
        let width = body.features(tasks.of(Objective::Lower, 0).images).dims()[1];
        let head =
            |initializer| LinearConfig::new(width, way).with_initializer(initializer).init(device);
        let x =
            Extractor { body, head: head(Initializer::Zeros), norm: settings.feature_norm.get() };
        let y = head(Initializer::Zeros);
        Ok(Self::Representation(TaskFeatures::new(heads, &x, &y, tasks)?))
    }

    /// The initial x and y.
    pub fn starts(&self) -> (Vector, Vector) {
        match self {
            Self::Representation(TaskFeatures { whole, .. }) => {
                (whole.upper_start(), whole.lower_start())
            }
            Self::Initialisation(oracle) => (oracle.upper_start(), oracle.lower_start()),
        }
    }

    /// What `--method auto` stands for, from probes on the features of the first task; none where y is a network.
    ///
    /// # Errors
    /// If no method on features fits.
    pub fn auto(&self, settings: &Settings) -> Result<Option<Auto>, BenchError> {
        let Self::Representation(features) = self else { return Ok(None) };
        let u = features.features(&features.whole.upper_start(), Samples::default());
        let (y, way) = (features.whole.lower_start(), (Start::Fixed, settings.common.seed));
        let of_run = catalogue::Settings {
            lower_steps: settings.lower.lower_steps.get(),
            step_size: settings.lower.step_size.get(),
            truncated: settings.truncated.get(),
            aggregation: settings.aggregation.get(),
            solver_iterations: settings.solver_iterations.get(),
            damping: settings.damping.get(),
            ..catalogue::Settings::default()
        };
        let auto = Auto::among::<Configured>(&features.heads, (&u, &y), way, &of_run)?;
        let auto = Auto { problems: settings.meta_batch.get() as u64, ..auto };
        let Choice::Method { settings: chosen, .. } = &auto.suggestion.choice else {
            return Ok(Some(auto));
        };
        // The other settings of the catalogue are not settings of this experiment.
        let catalogue::Settings { tolerance, warm_start, stored_states, .. } = *chosen;
        let of_run = catalogue::Settings { tolerance, warm_start, stored_states, ..of_run };
        Ok(Some(Auto { method: auto.suggestion.name_beside(&of_run), ..auto }))
    }

    /// The solver of a method, its tasks divided among `ranks`.
    ///
    /// # Errors
    /// If a setting is outside its range.
    pub fn solver<'a>(
        &'a self,
        method: Method,
        settings: &Settings,
        ranks: &'static dyn Group,
    ) -> Result<Box<dyn Solver + 'a>, Error> {
        let n = settings.meta_batch.get();
        let (x, y) = self.starts();
        let rate = settings.upper.learning_rate.get();
        let adam = || AdamConfig::new().build();
        Ok(match self {
            Self::Representation(features) => {
                let make = || Ok(OnFeatures::new(on_features(method, settings)?));
                let tasks = bilevel_core::Tasks::new(n, make)?.among(ranks)?;
                let upper = BurnOptimizer::new(adam(), &features.whole.upper_module(&x), rate)?;
                let start = match method {
                    Method::Iaptt => Start::Learned { step_size: settings.initial_rate.get() },
                    _ => Start::Fixed,
                };
                let solver = HypergradientSolver::new(features, tasks, upper, x, y);
                Box::new(solver.with_start(start)?)
            }
            Self::Initialisation(oracle) => {
                let tasks = bilevel_core::Tasks::new(n, || from_x(method, settings))?;
                let tasks = tasks.among(ranks)?;
                let upper = BurnOptimizer::new(adam(), &oracle.upper_module(&x), rate)?;
                Box::new(HypergradientSolver::new(oracle, tasks, upper, x, y))
            }
        })
    }

    /// The fraction of a task's images that are classified correctly after `descent` from x and the start of the lower
    /// level.
    ///
    /// # Errors
    /// If the lower level diverges.
    pub fn accuracy(
        &self,
        method: Method,
        (x, start): (&Vector, &Vector),
        descent: &Descent,
        task: u64,
    ) -> Result<f64, Error> {
        let sample = Sample(task);
        let samples = Samples { upper: sample, lower: sample, index: 0 };
        match self {
            Self::Representation(features) => {
                let u = features.features(x, samples);
                let heads = &features.heads;
                let matrix = |at: usize| Tensor::<2>::from_dispatch(u.leaves()[at].clone());
                let start = match method {
                    Method::Anil => u.part(&u.layout().under("head"), heads.lower_layout()),
                    _ => start.clone(),
                };
                let judge = heads.problem().judge;
                let y = match judge {
                    Judge::Head => {
                        descent.run(&LowerProblem::new(heads, &u, samples), &start)?.state.y
                    }
                    Judge::NearestMean { .. } => start,
                };
                let head: Linear = features.whole.lower_module(&y);
                let logits = judge.logits(matrix(0), matrix(1), &head);
                let labels = heads.data().upper.clone();
                Ok(accuracy(logits, labels))
            }
            Self::Initialisation(oracle) => {
                let start = x.part(&x.layout().under("initial"), oracle.lower_layout());
                let y = descent.run(&LowerProblem::new(oracle, x, samples), &start)?.state.y;
                let images = oracle.data().of(Objective::Upper, task);
                let logits = oracle.upper_module(x).logits(&oracle.lower_module(&y), images.images);
                Ok(accuracy(logits, images.labels))
            }
        }
    }
}

/// The network for images of a shape.
fn network(settings: &Settings, shape: [usize; 3]) -> ImageClassifierConfig {
    let (way, width) = (settings.way.get(), settings.width.get());
    match settings.network {
        NetworkName::Convnet => ImageClassifierConfig::ConvNet(
            ConvNetConfig::new(shape, way).with_channels(vec![width; settings.blocks.get()]),
        ),
        NetworkName::Resnet12 => {
            ImageClassifierConfig::ResNet12(ResNet12Config::new(shape[0], way).with_width(width))
        }
    }
}

/// x of a method whose lower level starts at x.
fn meta(
    method: Method,
    settings: &Settings,
    initial: &ImageClassifier,
    config: &ImageClassifierConfig,
    device: &Device,
) -> Meta {
    let layout = bilevel_program::Layout::of(initial);
    let rates = (method == Method::MetaSgd).then(|| {
        let rates = config.init(device);
        let layout = bilevel_program::Layout::of(&rates);
        let constant = vec![settings.lower.step_size.get(); layout.size()];
        Vector::from_slice(&layout, &constant, device).write_into(rates)
    });
    let squares = Kronecker::factors_of(&layout);
    let factors = squares.into_iter().filter(|_| method == Method::MetaCurvature);
    let factors = factors.map(|n| Param::from_tensor(Tensor::eye(n, device))).collect();
    let warps = match method {
        Method::TNet => Some(WarpsConfig::linear(settings.width.get(), settings.blocks.get())),
        Method::WarpGrad => {
            Some(WarpsConfig::convolutions(settings.width.get(), settings.blocks.get()))
        }
        _ => None,
    };
    Meta {
        initial: initial.clone(),
        rates: rates.into_iter().collect(),
        factors,
        warps: warps.into_iter().map(|config| config.init(device)).collect(),
    }
}

fn descent(settings: &Settings) -> Result<Descent, Error> {
    Descent::new(Gd::new(settings.lower.step_size.get())?, settings.lower.lower_steps.get())
}

/// The lower steps of a method on a test task: of f alone.
///
/// # Errors
/// If a setting is outside its range.
pub fn test_descent(method: Method, settings: &Settings) -> Result<Descent, Error> {
    let (size, steps) = (settings.lower.step_size.get(), settings.test_steps.get());
    match method {
        Method::MetaSgd => {
            Descent::new(Preconditioned::new(Gd::new(1.0)?, Diagonal::new("rates")), steps)
        }
        Method::MetaCurvature => {
            Descent::new(Preconditioned::new(Gd::new(size)?, Kronecker::new("factors")), steps)
        }
        _ => Descent::new(Gd::new(size)?, steps),
    }
}

/// A method on the features of a task.
fn on_features(method: Method, settings: &Settings) -> Result<Boxed, Error> {
    let (size, steps) = (settings.lower.step_size.get(), settings.lower.lower_steps.get());
    Ok(match method {
        Method::Trad => Box::new(Unrolled::trad(descent(settings)?, settings.truncated.get())?),
        Method::Bda => {
            let weight = Weight::Decaying(settings.aggregation.get());
            Box::new(Unrolled::rad(Descent::new(Aggregated::new(size, size, weight)?, steps)?))
        }
        Method::Iaptt => Box::new(Iaptt::new(descent(settings)?)),
        Method::Anil => Box::new(Maml::new(descent(settings)?).with_part("head")),
        Method::Penalty => {
            let gamma = settings.gamma.get();
            let falling = Schedule::geometric(size / (1.0 + gamma), FALL);
            // Adam moves x along the direction, whatever the rate here.
            let settings = PenaltySettings { steps, gamma, tolerance: TOLERANCE };
            Box::new(JointStep::new(Penalty::new(Rates::new(1.0, falling)?, settings)?))
        }
        Method::ApproxGrad => {
            let iterations = settings.solver_iterations.get();
            let solver = ApproxGrad::adam(settings.solver_rate.get(), iterations, SOLVED)?;
            let solver = solver.with_damping(settings.damping.get())?;
            Box::new(Implicit::new(descent(settings)?, solver))
        }
        Method::Cg => {
            let solver = Cg::new(settings.solver_iterations.get(), SOLVED)?;
            let solver = solver.with_damping(settings.damping.get())?;
            Box::new(Implicit::new(descent(settings)?, solver))
        }
        Method::Protonet => Box::new(Direct),
        _ => Box::new(Unrolled::rad(descent(settings)?)),
    })
}

/// A method whose lower level starts at x.
fn from_x(method: Method, settings: &Settings) -> Result<Boxed, Error> {
    let steps = settings.lower.lower_steps.get();
    let size = settings.lower.step_size.get();
    let descent = || descent(settings);
    Ok(match method {
        Method::Fomaml => Box::new(Fomaml::new(descent()?).with_part("initial")),
        Method::Reptile => {
            // The displacement of T steps of the length of one gradient.
            Box::new(Reptile::new(descent()?, size * steps as f64)?.with_part("initial"))
        }
        Method::Imaml => {
            let solver = Cg::new(settings.solver_iterations.get(), SOLVED)?;
            Box::new(Imaml::new(Implicit::new(descent()?, solver), settings.proximity.get())?)
        }
        Method::MetaSgd => {
            let dynamics = Preconditioned::new(Gd::new(1.0)?, Diagonal::new("rates"));
            Box::new(Maml::new(Descent::new(dynamics, steps)?).with_part("initial"))
        }
        Method::MetaCurvature => {
            let dynamics = Preconditioned::new(Gd::new(size)?, Kronecker::new("factors"));
            Box::new(Maml::new(Descent::new(dynamics, steps)?).with_part("initial"))
        }
        _ => Box::new(Maml::new(descent()?).with_part("initial")),
    })
}
