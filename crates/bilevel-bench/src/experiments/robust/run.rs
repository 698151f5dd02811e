//! Running the methods and measuring them.

use std::sync::Arc;

use bilevel_core::{
    Error, HeavyBall, JointMethod, JointSolver, NsGame, Objective, Oracle, Rates, Sampler,
    Schedule, Solver, SplitOracle, Variable, VirtualStep,
};
use bilevel_models::VNetConfig;
use bilevel_program::Vector;
use burn::tensor::{Device, Tensor, TensorData};

use super::cost::{StepCost, measure};
use super::data::{Sets, read};
use super::judge::{Judge, separation};
use super::settings::{LookAhead, Settings, Subject};
use super::warm_up::WarmUp;
use super::without_upper::WithoutUpper;
use super::{Corrector, MlcMethod, MwnMethod, Robust, Transition};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::{Experiment, Run, Trial};
use crate::report::{MethodReport, StepRecord, heat_map, weights};
use crate::settings::{NonNegative, Offered};
use bilevel_data::Images;
use bilevel_data::augment::Normalisation;
use bilevel_data::loader::{self, ImageBatches};

/// `T[i][i]` at the start: far enough from 1 that the softmax still moves.
const KEPT: f64 = 0.9;

/// The steps ahead of `tbp`. The source does not give them; its time per iteration is that of `mwn` and one more
/// gradient.
const TRUNCATED: usize = 2;

/// Points of the curve of weights over losses.
const CURVE: usize = 200;

/// `mwn` and its data.
pub struct Mwn(Prepared<MwnMethod>);

/// `mlc` and its data.
pub struct Mlc(Prepared<MlcMethod>);

impl Experiment for Mwn {
    const NAME: &'static str = "mwn";
    const ABOUT: &'static str = "Weight training images by their losses, learned on a few clean ones: wrong labels, \
                                 classes of unequal size";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/mwn.toml");
    type Settings = Settings<MwnMethod>;

    fn read(settings: Self::Settings) -> Result<Self, BenchError> {
        Ok(Self(Prepared { sets: read(&settings)?, settings, subject: Subject::Weights }))
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.0.sets.feed(to);
    }

    fn arrays(&self) -> Vec<Array> {
        self.0.arrays()
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        self.0.on(device, run)
    }
}

impl Experiment for Mlc {
    const NAME: &'static str = "mlc";
    const ABOUT: &'static str =
        "Correct wrong labels by a transition matrix, learned on a few clean images";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/mlc.toml");
    type Settings = Settings<MlcMethod>;

    fn read(settings: Self::Settings) -> Result<Self, BenchError> {
        Ok(Self(Prepared { sets: read(&settings)?, settings, subject: Subject::Transition }))
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.0.sets.feed(to);
    }

    fn arrays(&self) -> Vec<Array> {
        self.0.arrays()
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        self.0.on(device, run)
    }
}

/// One of the experiments, and its data.
struct Prepared<M: Offered> {
    settings: Settings<M>,
    subject: Subject,
    sets: Sets,
}

impl<M: Offered + Copy + Into<LookAhead>> Prepared<M> {
    fn arrays(&self) -> Vec<Array> {
        let Sets { train, clean, .. } = &self.sets;
        let batch = self.settings.batch.get().min(train.len().max(clean.len()));
        let hidden = self.settings.network.hidden(train);
        vec![
            Array::new("the images of a batch", [batch, train.features()]),
            Array::new("the hidden layers of a batch", [batch, hidden]),
        ]
    }

    fn on(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench::new(self, device);
        let costs = match bench.costs() {
            // A method that diverges this early does so in its run too, which reports it.
            Err(BenchError::Core(error)) if !matches!(error, Error::InvalidSetting { .. }) => {
                tracing::warn!("steps are not timed: {error}");
                None
            }
            costs => costs?,
        };
        let methods = self.settings.method.iter().enumerate();
        let reports = methods.map(|(at, &method)| {
            let cost = costs.as_deref().map(|costs| (costs[at], costs[costs.len() - 1]));
            run.method(&method.name(), |trial| bench.run(method.into(), cost, trial))
        });
        reports.collect()
    }
}

type RobustOracle = SplitOracle<Robust, ImageBatches>;

/// The data, and state shared by all methods.
struct Bench<'a, M: Offered> {
    settings: &'a Settings<M>,
    subject: Subject,
    sets: &'a Sets,
    train: Arc<Images>,
    clean: Arc<Images>,
    normalisation: Normalisation,
    device: Device,
}

impl<'a, M: Offered + Copy + Into<LookAhead>> Bench<'a, M> {
    fn new(prepared: &'a Prepared<M>, device: Device) -> Self {
        let Prepared { settings, subject, sets } = prepared;
        Self {
            settings,
            subject: *subject,
            sets,
            train: Arc::new(sets.train.clone()),
            clean: Arc::new(sets.clean.clone()),
            normalisation: Normalisation::of(&sets.train),
            device,
        }
    }

    /// The losses of a method, with `ahead` batches prepared in advance; x and y start alike for all.
    fn oracle(&self, method: LookAhead, ahead: usize) -> Result<RobustOracle, BenchError> {
        let Self { settings, device, .. } = self;
        device.seed(settings.common.seed);
        let classes = self.train.classes();
        let x = match self.subject {
            Subject::Weights => Corrector::Weights(VNetConfig::new().init(device)),
            Subject::Transition => Corrector::Transition(Transition::new(classes, KEPT, device)),
        };
        let y = settings.network.config(&self.train).init(device);
        let batches = loader::Settings {
            size: settings.batch.get(),
            augmentation: self.sets.augmentation,
            normalisation: self.normalisation.clone(),
            seed: settings.common.seed,
        };
        let data =
            ImageBatches::new(self.clean.clone(), self.train.clone(), batches, device.clone())?;
        let problem = Robust { training: method.training() };
        Ok(SplitOracle::new(problem, &x, &y, data.with_ahead(ahead))?)
    }

    /// x moves after `warm_up` passes through the training set.
    fn solver<'b>(
        &self,
        method: LookAhead,
        warm_up: usize,
        oracle: &'b RobustOracle,
    ) -> Result<JointSolver<'b>, BenchError> {
        let Settings { step_size, learning_rate, .. } = self.settings;
        let [upper, lower] =
            [Objective::Upper, Objective::Lower].map(|objective| oracle.batches(objective));
        let at = self.settings.falls().map(|epoch| epoch.saturating_mul(lower));
        // The step size of x is constant, as in the authors' programs.
        let falling = Schedule::milestones(step_size.get(), 0.1, at);
        let rates = Rates::new(learning_rate.get(), falling)?;
        let (x, y) = (oracle.whole().upper_start(), oracle.whole().lower_start());
        let method: Box<dyn JointMethod> = match method {
            LookAhead::Plain => Box::new(WithoutUpper::new(rates)),
            LookAhead::Virtual => Box::new(VirtualStep::new(rates)),
            LookAhead::Truncated => Box::new(VirtualStep::truncated(rates, TRUNCATED)?),
            LookAhead::Game => {
                let y2 = self.settings.y2.clone().unwrap_or_else(|| last_layer(oracle));
                let game = NsGame::new(rates, y2);
                Box::new(if self.settings.x_first { game.x_first() } else { game })
            }
        };
        let alone = warm_up.saturating_mul(lower);
        let method = match alone {
            0 => method,
            _ => Box::new(WarmUp::new(alone, WithoutUpper::new(rates), method)),
        };
        Ok(JointSolver::new(oracle, method, x, y)?
            .with_sampler(Sampler::in_order(upper, lower)?)
            .with_momentum(Variable::X, self.momentum(self.settings.upper_weight_decay)?)
            .with_momentum(Variable::Y, self.momentum(self.settings.weight_decay)?))
    }

    fn momentum(&self, weight_decay: NonNegative) -> Result<HeavyBall, BenchError> {
        let ball = HeavyBall::new(self.settings.momentum.get(), weight_decay.get())?;
        Ok(if self.settings.nesterov { ball.with_nesterov() } else { ball })
    }

    /// The cost of a step of each method, that of a plain one last; none if timing is off.
    fn costs(&self) -> Result<Option<Vec<StepCost>>, BenchError> {
        if self.settings.repetitions == 0 {
            return Ok(None);
        }
        let methods =
            || self.settings.method.iter().map(|&method| method.into()).chain([LookAhead::Plain]);
        // Without a thread that prepares batches, whose memory would be attributed to any step.
        let oracles: Vec<_> =
            methods().map(|method| self.oracle(method, 0)).collect::<Result<_, _>>()?;
        let mut solvers = Vec::new();
        for (method, oracle) in methods().zip(&oracles) {
            solvers.push(Box::new(self.solver(method, 0, oracle)?) as Box<dyn Solver + '_>);
        }
        measure(&mut solvers, self.settings.repetitions.into()).map(Some)
    }

    fn run(
        &self,
        method: LookAhead,
        cost: Option<(StepCost, StepCost)>,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let settings = self.settings;
        trial.report.baseline = method == LookAhead::Plain;
        if let Some((cost, plain)) = cost {
            let extra = (cost.peak as f64 - plain.peak as f64) / f64::from(1 << 20);
            let figures = [("s/iteration", cost.seconds), ("extra MiB", extra)];
            trial.report.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
        }
        let oracle = self.oracle(method, 1)?;
        let mut solver = self.solver(method, settings.warm_up, &oracle)?;
        let passes = settings.epochs.get() * oracle.batches(Objective::Lower);
        let steps = passes.min(settings.iterations.map_or(usize::MAX, |most| most.get()));
        let every = steps.div_ceil(settings.evaluations.get());
        let judge = self.judge();
        let seed = (settings.common.seed, self.device.clone());
        trial.drive(&mut solver, steps, seed, |_, progress| {
            let due = progress.step == steps || progress.step.is_multiple_of(every);
            let network = || oracle.whole().lower_module(progress.solver.y());
            let accuracy = due.then(|| judge.test_accuracy(&network()));
            StepRecord { test_accuracy: accuracy, ..StepRecord::default() }
        })?;
        if let Some(last) = trial.report.series.last().cloned() {
            let report = &mut trial.report;
            report.test_accuracy = last.test_accuracy;
            (report.upper_loss, report.lower_loss) = (last.upper_loss, last.lower_loss);
        }
        if method == LookAhead::Plain {
            return Ok(());
        }
        self.show(&oracle, solver.x(), solver.y(), trial)
    }

    /// The quantities of the learned correction.
    fn show(
        &self,
        oracle: &RobustOracle,
        x: &Vector,
        y: &Vector,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let name = trial.report.name.clone();
        match oracle.whole().upper_module(x) {
            Corrector::Weights(network) => {
                let losses = self.judge().training_losses(&oracle.whole().lower_module(y));
                let weigh = |losses: Vec<f32>| -> Vec<f32> {
                    let n = losses.len();
                    let losses = Tensor::from_data(TensorData::new(losses, [n]), &self.device);
                    network.forward(losses).into_data().iter::<f32>().collect()
                };
                let most = losses.iter().copied().fold(0.0, f32::max);
                let grid: Vec<f32> = (0..=CURVE).map(|i| most * i as f32 / CURVE as f32).collect();
                let curve: Vec<_> = grid.iter().copied().zip(weigh(grid.clone())).collect();
                let given = weigh(losses);
                let of = |wanted: bool| -> Vec<f32> {
                    let pairs = given.iter().zip(&self.sets.wrong);
                    pairs
                        .filter(|(_, wrong)| **wrong == wanted)
                        .map(|(weight, _)| *weight)
                        .collect()
                };
                let (right, wrong) = (of(false), of(true));
                if let Some(auc) = separation(&given, &self.sets.wrong) {
                    trial.report.figures.insert("AUC".into(), auc);
                }
                let svg = weights::svg(&name, &curve, &right, &wrong)?;
                trial.folder().write_file(&format!("weights-{name}.svg"), svg.as_bytes())?;
            }
            Corrector::Transition(transition) => {
                let learned: Vec<f64> = transition.matrix().into_data().iter::<f64>().collect();
                let classes = self.train.classes();
                let expected = &self.sets.transition;
                let apart: f64 = learned.iter().zip(expected).map(|(a, b)| (a - b).abs()).sum();
                // The mean over columns of half the sum of absolute differences.
                trial.report.figures.insert("T error".into(), apart / (2 * classes) as f64);
                let panels = [("learned", &learned[..]), ("of the labels", &expected[..])];
                let svg = heat_map::svg(&name, panels, classes)?;
                trial.folder().write_file(&format!("transition-{name}.svg"), svg.as_bytes())?;
            }
        }
        Ok(())
    }

    fn judge(&self) -> Judge<'_> {
        Judge {
            sets: self.sets,
            normalisation: &self.normalisation,
            batch: self.settings.batch.get().max(100),
            device: self.device.clone(),
        }
    }
}

/// The path of the layer of the last variable of y.
fn last_layer(oracle: &RobustOracle) -> String {
    let path = oracle.lower_layout().leaves().last().map_or("", |leaf| leaf.path.as_str());
    path.rsplit_once('.').map_or("", |(layer, _)| layer).to_owned()
}
