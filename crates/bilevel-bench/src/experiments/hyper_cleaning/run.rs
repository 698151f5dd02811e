//! Running the methods and measuring them.

use bilevel_core::{
    AutodiffOracle, BurnOptimizer, Descent, FullBatch, HypergradientSolver, JointSolver, Level,
    Oracle, Samples, Solver, Stage, Start, Status,
};
use bilevel_models::{ClassifierConfig, accuracy};
use bilevel_program::Vector;
use burn::optim::AdamConfig;
use burn::tensor::Device;

use super::{HyperCleaning, Labelled, Method, SampleWeights, Settings};
use crate::backend::run_on;
use crate::data::noise::{Corrupted, Detection, corrupt_labels};
use crate::data::split::{Parts, SplitSizes, split};
use crate::data::{Dataset, Purpose, digits, mnist, stream};
use crate::error::BenchError;
use crate::experiments::{Experiment, Run, Trial};
use crate::methods::{self, Point, Tuning, contenders};
use crate::report::{MethodReport, StepRecord};

/// Test samples that are judged at once.
const TEST_PART: usize = 2000;

/// Logit of a weight that is 1 or 0 to four digits.
const SURE: f32 = 10.0;

/// The experiment, its data read.
pub struct Prepared {
    pub(super) settings: Settings,
    pub(super) parts: Parts,
    corrupted: Corrupted,
}

/// Reads, splits and corrupts the data, and asks whether the backend is there.
///
/// # Errors
/// If the data, the backend or a setting cannot be used.
pub fn prepare(settings: Settings) -> Result<Prepared, BenchError> {
    settings.backend.resolve()?;
    let set = match &settings.data_dir {
        None => digits::load()?,
        Some(dir) => mnist::read_dir(dir)?.pooled()?,
    };
    let sizes = SplitSizes { train: settings.train, validation: settings.validation };
    let mut parts = split(&set, sizes, settings.seed)?.apply(&set)?;
    let rng = &mut stream(settings.seed, Purpose::Noise);
    let corrupted =
        corrupt_labels(parts.train.labels(), parts.train.classes(), settings.noise, rng)?;
    parts.train = parts.train.with_labels(corrupted.labels.clone())?;
    Ok(Prepared { settings, parts, corrupted })
}

impl Experiment for Prepared {
    fn run(self: Box<Self>, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        run_on(self.settings.backend, |device| self.on(device, run))?
    }
}

impl Prepared {
    fn on(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench::new(self, device);
        let methods = self.settings.methods.iter();
        methods.map(|&method| run.method(method.name(), |trial| bench.run(method, trial))).collect()
    }
}

type CleaningOracle = AutodiffOracle<HyperCleaning, FullBatch<Labelled>>;

/// The data on a device, and what all methods share.
struct Bench<'a> {
    settings: &'a Settings,
    tuning: Tuning,
    /// Which labels are wrong: only the report sees it.
    wrong: &'a [bool],
    device: Device,
    data: FullBatch<Labelled>,
    test: Labelled,
    classifier: ClassifierConfig,
}

/// Weights that were learned, and how to train with them.
struct Learned {
    x: Vector,
    descent: Descent,
    start: Vector,
}

impl<'a> Bench<'a> {
    fn new(prepared: &'a Prepared, device: Device) -> Self {
        let Prepared { settings, parts: Parts { train, validation, test }, corrupted } = prepared;
        let labelled = |set: &Dataset| Labelled::new(set, &device);
        let data = FullBatch { upper: labelled(validation), lower: labelled(train) };
        Self {
            settings,
            tuning: settings.tuning(),
            wrong: &corrupted.wrong,
            data,
            test: labelled(test),
            classifier: settings.model.config(train),
            device,
        }
    }

    /// One method, from the same start as all others.
    fn run(&self, method: Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        self.device.seed(self.settings.seed);
        let logits = match method.name() {
            "noisy" => vec![SURE; self.wrong.len()],
            "oracle" => self.wrong.iter().map(|&wrong| if wrong { -SURE } else { SURE }).collect(),
            _ => vec![0.0; self.wrong.len()],
        };
        let x = SampleWeights::new(logits, &self.device);
        let y = self.classifier.init(&self.device);
        let oracle = AutodiffOracle::new(HyperCleaning, &x, &y, self.data.clone())?;
        trial.report.baseline = method.is_baseline();
        let learned = if method.is_baseline() {
            let descent = methods::descent(&self.tuning)?;
            Learned { x: oracle.upper_start(), descent, start: oracle.lower_start() }
        } else {
            self.learn(method, &x, &oracle, trial)?
        };
        self.train(&learned, &oracle, trial)
    }

    /// The weights, by a bilevel method.
    fn learn(
        &self,
        method: Method,
        module: &SampleWeights,
        oracle: &CleaningOracle,
        trial: &mut Trial<'_>,
    ) -> Result<Learned, BenchError> {
        let settings = self.settings;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let contender = contenders().into_iter().find(|c| c.name == method.name());
        let contender = contender.expect("every method that is no baseline is in the table");
        let point = Point { x: &x, y: &y };
        match (contender.make)(&self.tuning, &point, settings.seed)? {
            methods::Method::Hypergradient(method) => {
                let upper =
                    BurnOptimizer::new(AdamConfig::new().build(), module, settings.learning_rate)?;
                let start = match method.differentiates_start() {
                    true => Start::Learned { step_size: settings.step_size },
                    false => Start::Fixed,
                };
                let solver = HypergradientSolver::new(oracle, method, upper, x, y);
                let mut solver = solver.with_start(start);
                self.drive(&mut solver, oracle, trial)?;
                let descent = match contender.name {
                    "bda" => methods::aggregated(&self.tuning)?,
                    _ => methods::descent(&self.tuning)?,
                };
                let start = solver.lower_start().clone();
                Ok(Learned { x: solver.x().clone(), descent, start })
            }
            methods::Method::Joint(method) => {
                let start = y.clone();
                let mut solver = JointSolver::new(oracle, method, x, y)?;
                self.drive(&mut solver, oracle, trial)?;
                let descent = methods::descent(&self.tuning)?;
                Ok(Learned { x: solver.x().clone(), descent, start })
            }
        }
    }

    fn drive(
        &self,
        solver: &mut dyn Solver,
        oracle: &CleaningOracle,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let seed = (self.settings.seed, self.device.clone());
        trial.drive(solver, self.settings.upper_steps, seed, |x, progress| {
            self.judge(oracle, progress.solver.y(), self.detection(oracle, x))
        })?;
        Ok(())
    }

    /// Trains with the weights that were learned, and judges the result: what the summary has.
    fn train(
        &self,
        learned: &Learned,
        oracle: &CleaningOracle,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let stage = Stage::new(oracle, &learned.x, Samples::default());
        let end = trial.timed(|| learned.descent.run(&stage, &learned.start))?;
        let upper_loss = stage.value(Level::Upper, &end.state.y).read();
        let detection = self.detection(oracle, &learned.x);
        let report = &mut trial.report;
        let record = StepRecord {
            step: report.series.len() as u64,
            seconds: report.seconds,
            upper_loss: Some(upper_loss),
            lower_loss: Some(end.end_loss),
            ..self.judge(oracle, &end.state.y, detection)
        };
        (report.upper_loss, report.lower_loss) = (record.upper_loss, record.lower_loss);
        report.test_accuracy = record.test_accuracy;
        if report.baseline {
            report.status = format!("{} lower steps", learned.descent.steps());
        } else {
            report.detection = detection;
            report.series.push(record);
        }
        if end.climbed() {
            report.ok = false;
            let (start, end) = (end.start_loss, end.end_loss);
            report.status += &format!("; {}", Status::NoDescent { start, end });
        }
        trial.count(oracle.cost());
        Ok(())
    }

    /// The figures of a point that only the report sees.
    fn judge(
        &self,
        oracle: &CleaningOracle,
        y: &Vector,
        detection: Option<Detection>,
    ) -> StepRecord {
        StepRecord {
            test_accuracy: Some(self.test_accuracy(oracle, y)),
            f1: detection.map(|detection| detection.f1),
            ..StepRecord::default()
        }
    }

    // In parts: the hidden layer of a whole test set would be the peak of memory.
    fn test_accuracy(&self, oracle: &CleaningOracle, y: &Vector) -> f64 {
        let network = oracle.lower_module(y);
        let n = self.test.labels.dims()[0];
        let mut right = 0.0;
        for start in (0..n).step_by(TEST_PART) {
            let part = start..n.min(start + TEST_PART);
            let logits = network.forward(self.test.inputs.clone().slice([part.clone()]));
            let labels = self.test.labels.clone().slice([part.clone()]);
            right += accuracy(logits, labels) * part.len() as f64;
        }
        right / n as f64
    }

    /// How well the weights find the wrong labels; none where a weight is not a number.
    fn detection(&self, oracle: &CleaningOracle, x: &Vector) -> Option<Detection> {
        let weights = oracle.upper_module(x).weights().into_data();
        let weights: Vec<f32> = weights.iter::<f32>().collect();
        Detection::from_weights(&weights, self.wrong, 0.5).ok()
    }
}
