//! Running the methods and measuring them.

use bilevel_core::{
    ApproxGrad, AutodiffOracle, Batches, Descent, Gd, Implicit, JointMethod, JointSolver,
    Objective, OnBatches, Oracle, Penalty, PenaltySettings, Rates, Sampler, Schedule, Solver,
    Unrolled,
};
use bilevel_models::ImageClassifier;
use burn::tensor::Device;
use rand::seq::SliceRandom;

use super::{Importance, Method, Settings, TrainingBatch};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::hyper_cleaning::SampleWeights;
use crate::experiments::images::{
    Read, batches, divide, read, share_right_with, statistics, train,
};
use crate::experiments::{Experiment, Run, Trial};
use crate::report::{MethodReport, StepRecord};
use crate::settings::Offered;
use bilevel_data::Digest;
use bilevel_data::loader::ImageBatch;
use bilevel_data::noise::{Corrupted, Detection, corrupt_labels};
use bilevel_data::split::{Parts, at_most};
use bilevel_data::{Dataset, Purpose, stream};

/// How often a run evaluates the test set, which is large compared with a step.
const LOOKS: usize = 50;

/// Adam's learning rate of the baselines.
const BASELINE_RATE: f64 = 1e-3;

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    parts: Parts,
    corrupted: Corrupted,
}

impl Experiment for Prepared {
    const NAME: &'static str = "importance";
    const ABOUT: &'static str = "Hyper-cleaning on batches with a network for images, by methods that move weights and network together";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/importance.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let Read { set, test, .. } = read(settings.common.data_dir.as_deref())?;
        settings.network.check(&set)?;
        let (split, seed) = (&settings.split, settings.common.seed);
        let mut parts = divide((set, test), split.train.get(), split.validation.get(), seed)?;
        let rng = &mut stream(seed, Purpose::Noise);
        let (labels, classes) = (parts.train.labels(), parts.train.classes());
        let corrupted = corrupt_labels(labels, classes, settings.noise.get(), rng)?;
        parts.train = parts.train.with_labels(corrupted.labels.clone())?;
        if let Some(most) = settings.test {
            parts.test = at_most(parts.test, most.get(), &mut stream(seed, Purpose::Split))?;
        }
        Ok(Self { settings, parts, corrupted })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.parts.feed(to);
    }

    fn arrays(&self) -> Vec<Array> {
        let Parts { train, validation, .. } = &self.parts;
        // The baselines train on both.
        let batch = self.settings.batch.get().min(train.len() + validation.len());
        let judged = self.settings.judged().min(self.parts.test.len());
        vec![
            Array::new("the samples of a batch", [batch, train.features()]),
            Array::new(
                "the hidden layers of a batch",
                [batch.max(judged), self.settings.network.hidden(train)],
            ),
        ]
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench {
            prepared: self,
            settings: &self.settings,
            test: batches(&self.parts.test, self.settings.judged(), &device)?,
            device,
        };
        let methods = self.settings.method.iter();
        methods
            .map(|&method| run.method(&method.name(), |trial| bench.run(method, trial)))
            .collect()
    }
}

/// The test set on a device, and what all methods share.
struct Bench<'a> {
    prepared: &'a Prepared,
    settings: &'a Settings,
    test: Vec<ImageBatch>,
    device: Device,
}

type ImportanceOracle = AutodiffOracle<Importance, Batches<TrainingBatch>>;

impl Bench<'_> {
    fn run(&self, method: Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let Prepared { parts: Parts { train, validation, .. }, corrupted, .. } = self.prepared;
        let right = || {
            let right = (0..train.len()).filter(|&sample| !corrupted.wrong[sample]);
            train.select(&right.collect::<Vec<_>>())
        };
        match method {
            Method::ValOnly => self.baseline(validation.clone(), trial),
            Method::TrainVal => self.baseline(train.clone().join(validation.clone())?, trial),
            Method::CleanLabels => self.baseline(right()?.join(validation.clone())?, trial),
            Method::Penalty | Method::ApproxGrad | Method::Rad => self.learn(method, trial),
        }
    }

    /// The network with the same initial weights for every method.
    fn network(&self) -> ImageClassifier {
        self.device.seed(self.settings.common.seed);
        self.settings.network.config(&self.prepared.parts.train).init(&self.device)
    }

    /// As many steps as a bilevel method makes in y, on `set` in random order.
    fn baseline(&self, set: Dataset, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let mut order: Vec<usize> = (0..set.len()).collect();
        order.shuffle(&mut stream(self.settings.common.seed, Purpose::Batches));
        let batches = batches(&set.select(&order)?, self.settings.batch.get(), &self.device)?;
        let steps = self.settings.upper.upper_steps.get() * self.settings.lower.lower_steps.get();
        trial.report.baseline = true;
        let network = self.network();
        let network = trial.timed(|| train(network, &batches, (steps, BASELINE_RATE), 0.0))?;
        trial.report.test_accuracy = Some(self.test_accuracy(&network, &batches));
        trial.report.status = format!("{steps} steps on {} samples", set.len());
        Ok(())
    }

    /// The test accuracy of a network, normalised with statistics of the batches that it was `trained_on`.
    fn test_accuracy(&self, network: &ImageClassifier, trained_on: &[ImageBatch]) -> f64 {
        let statistics = statistics(network, trained_on.iter().cloned());
        share_right_with(network, &statistics, self.test.iter().cloned())
    }

    /// The weights and the network, by a bilevel method.
    fn learn(&self, method: Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let Settings { lower, upper, .. } = self.settings;
        let (steps, step_size) = (lower.lower_steps.get(), lower.step_size.get());
        let (batch, learning_rate) = (self.settings.batch.get(), upper.learning_rate.get());
        let gamma = self.settings.gamma.get();
        let Parts { train, validation, .. } = &self.prepared.parts;
        let module = SampleWeights::new(vec![0.0; train.len()], &self.device);
        let [validation, training] =
            [validation, train].map(|set| batches(set, batch, &self.device));
        let (validation, training) = (validation?, training?);
        let numbered = |batches| TrainingBatch::all(batches, &self.device);
        let data = Batches::new(numbered(validation), numbered(training.clone()))?;
        let oracle = AutodiffOracle::new(Importance, &module, &self.network(), data)?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        // A logit's gradient is that of one sample among those of a batch.
        let rates = |lower: Schedule| Rates::new(learning_rate * batch as f64, lower);
        let descent = |steps| Descent::new(Gd::new(step_size)?, steps);
        let method: Box<dyn JointMethod> = match method {
            Method::ApproxGrad => {
                let Settings { solver_rate, solver_iterations, damping, .. } = self.settings;
                let (rate, iterations) = (solver_rate.get(), solver_iterations.get());
                let solver = ApproxGrad::adam(rate, iterations, SOLVED)?;
                let solver = solver.with_damping(damping.get())?;
                let implicit = Implicit::new(descent(1)?, solver);
                let rates = rates(step_size.into())?;
                Box::new(OnBatches::new(implicit.with_warm_start(), rates, steps)?)
            }
            Method::Rad => {
                let rad = Unrolled::rad(descent(UNROLLED)?);
                Box::new(OnBatches::new(rad, rates(step_size.into())?, steps)?)
            }
            _ => {
                // The penalised loss is steeper than f, increasingly so.
                let falling = Schedule::geometric(step_size / (1.0 + gamma), FALL);
                let penalty = Penalty::new(
                    rates(falling)?,
                    PenaltySettings { steps, gamma, tolerance: TOLERANCE },
                )?;
                Box::new(penalty.with_descent(Schedule::geometric(1.0, DESCENT_DECAY))?)
            }
        };
        let [upper, lower] =
            [Objective::Upper, Objective::Lower].map(|objective| oracle.batches(objective));
        let sampler = Sampler::epochs(upper, lower, self.settings.common.seed)?;
        let mut solver = JointSolver::new(&oracle, method, x, y)?.with_sampler(sampler);
        self.drive(&mut solver, (&oracle, &training), trial)
    }

    fn drive(
        &self,
        solver: &mut dyn Solver,
        (oracle, trained_on): (&ImportanceOracle, &[ImageBatch]),
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let steps = self.settings.upper.upper_steps.get();
        let seed = (self.settings.common.seed, self.device.clone());
        let every = steps.div_ceil(LOOKS);
        trial.drive(solver, steps, seed, |_, progress| {
            if progress.step % every > 0 && progress.step < steps {
                return StepRecord::default();
            }
            let detection = self.detection(oracle, progress.solver);
            let network = oracle.lower_module(progress.solver.y());
            StepRecord {
                test_accuracy: Some(self.test_accuracy(&network, trained_on)),
                f1: detection.map(|detection| detection.f1),
                ..StepRecord::default()
            }
        })?;
        trial.report.detection = self.detection(oracle, solver);
        let report = &mut trial.report;
        let made = report.series.len().max(1) as f64;
        report.figures.insert("s/iteration".into(), report.seconds / made);
        if let Some(last) = report.series.last() {
            report.test_accuracy = last.test_accuracy;
            (report.upper_loss, report.lower_loss) = (last.upper_loss, last.lower_loss);
        }
        Ok(())
    }

    /// How well the weights detect the wrong labels; none if a weight is not finite.
    fn detection(&self, oracle: &ImportanceOracle, solver: &dyn Solver) -> Option<Detection> {
        let weights = oracle.upper_module(solver.x()).weights().into_data();
        let weights: Vec<f32> = weights.iter::<f32>().collect();
        Detection::from_weights(&weights, &self.prepared.corrupted.wrong, 0.5).ok()
    }
}

/// The tolerance at which the penalty grows.
const TOLERANCE: f64 = 1.0;
/// The relative residual to which a linear system is solved.
const SOLVED: f64 = 1e-2;
/// The steps of y that `rad` goes back through, all on one batch.
const UNROLLED: usize = 5;
/// The factor by which the steps of y decrease each time: about as `1 / (1 + g)`, g growing by 1.1.
const FALL: f64 = 1.0 / 1.06;
/// The factor by which the weight of f in the steps of y decreases each time.
const DESCENT_DECAY: f64 = 0.99;
