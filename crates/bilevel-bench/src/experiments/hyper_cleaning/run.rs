//! Running the methods and measuring them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bilevel_autodiff::Vector;
use bilevel_core::{
    AutodiffOracle, BurnOptimizer, Cg, Cost, Descent, Executor, FullBatch, Gd, HypergradientMethod,
    HypergradientSolver, Implicit, Level, LinearStatus, Oracle, Progress, Rad, Samples, Solver,
    Stage, Status,
};
use bilevel_models::{ClassifierConfig, accuracy};
use burn::backend::Autodiff;
use burn::optim::AdamConfig;
use burn::tensor::backend::Backend;
use indicatif::{ProgressBar, ProgressStyle};

use super::{HyperCleaning, Labelled, MethodName, SampleWeights, Settings};
use crate::backend::{Job, run_on};
use crate::data::noise::{Corrupted, Detection, corrupt_labels};
use crate::data::split::{Parts, SplitSizes, split};
use crate::data::{Dataset, Purpose, digits, mnist, stream};
use crate::error::BenchError;
use crate::memory::Phase;
use crate::report::{MethodReport, ReportError, RunReport, StepRecord};

/// Test samples that are judged at once.
const TEST_PART: usize = 2000;

/// Logit of a weight that is 1 or 0 to four digits.
const SURE: f32 = 10.0;

/// An experiment whose data and settings have been found sound.
pub struct Prepared {
    pub(super) settings: Settings,
    table: toml::Table,
    pub(super) parts: Parts,
    corrupted: Corrupted,
}

/// Reads, splits and corrupts the data, and asks whether the backend is there.
///
/// # Errors
/// If the data, the backend or a setting cannot be used.
pub fn prepare(settings: Settings) -> Result<Prepared, BenchError> {
    settings.backend.resolve()?;
    let table = toml::Table::try_from(&settings)
        .map_err(|cause| ReportError::Format { file: "settings.toml", what: cause.to_string() })?;
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
    Ok(Prepared { settings, table, parts, corrupted })
}

impl Prepared {
    /// The settings, complete.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs all methods. One that fails is reported as such, and the others go on.
    ///
    /// # Errors
    /// If the library refuses a setting.
    pub fn run(self, progress: bool) -> Result<RunReport, BenchError> {
        let Self { settings, table, parts, corrupted } = self;
        let job = Methods { settings: &settings, parts: &parts, corrupted: &corrupted, progress };
        Ok(RunReport {
            experiment: "hyper-cleaning".into(),
            seed: settings.seed,
            methods: run_on(settings.backend, job)??,
            settings: table,
        })
    }
}

struct Methods<'a> {
    settings: &'a Settings,
    parts: &'a Parts,
    corrupted: &'a Corrupted,
    progress: bool,
}

impl Job for Methods<'_> {
    type Output = Result<Vec<MethodReport>, BenchError>;

    fn run<B: Backend>(self, device: B::Device) -> Self::Output {
        let bench = Bench::<B>::new(&self, device);
        self.settings.methods.iter().map(|&method| bench.run(method)).collect()
    }
}

type CleaningOracle<B> = AutodiffOracle<B, HyperCleaning, FullBatch<Labelled<B>>>;

/// The data on a device, and what all methods share.
struct Bench<'a, B: Backend> {
    job: &'a Methods<'a>,
    device: B::Device,
    data: FullBatch<Labelled<B>>,
    test: Labelled<B>,
    classifier: ClassifierConfig,
}

impl<'a, B: Backend> Bench<'a, B> {
    fn new(job: &'a Methods<'a>, device: B::Device) -> Self {
        let Parts { train, validation, test } = job.parts;
        let labelled = |set: &Dataset| Labelled::new(set, &device);
        let classifier = job.settings.model.config(train);
        let data = FullBatch { upper: labelled(validation), lower: labelled(train) };
        let test = labelled(test);
        Self { job, device, data, test, classifier }
    }

    /// One method, from the same start as all others.
    fn run(&self, method: MethodName) -> Result<MethodReport, BenchError> {
        let settings = self.job.settings;
        let phase = Phase::start();
        B::seed(&self.device, settings.seed);
        let logits = match method {
            MethodName::Rad | MethodName::Cg => vec![0.0; settings.train],
            MethodName::Noisy => vec![SURE; settings.train],
            MethodName::Oracle => {
                let wrong = self.job.corrupted.wrong.iter();
                wrong.map(|&wrong| if wrong { -SURE } else { SURE }).collect()
            }
        };
        let x = SampleWeights::<Autodiff<B>>::new(logits, &self.device);
        let y = self.classifier.init::<Autodiff<B>>(&self.device);
        let oracle = AutodiffOracle::new(HyperCleaning, &x, &y, self.data.clone())?;
        let mut report = MethodReport {
            name: method.as_str().into(),
            baseline: matches!(method, MethodName::Noisy | MethodName::Oracle),
            ok: true,
            ..MethodReport::default()
        };
        let outcome = self
            .learn(method, &x, &oracle, &mut report)
            .and_then(|x| self.train(&x, &oracle, &mut report));
        match outcome {
            Err(error @ bilevel_core::Error::InvalidSetting { .. }) => return Err(error.into()),
            Err(error) => {
                report.ok = false;
                report.status = error.to_string();
            }
            Ok(()) => {}
        }
        report.peak_memory = phase.peak();
        report.oracle_calls = calls(oracle.cost());
        Ok(report)
    }

    /// The weights: learned by a bilevel method, as they are for a baseline.
    fn learn(
        &self,
        method: MethodName,
        x: &SampleWeights<Autodiff<B>>,
        oracle: &CleaningOracle<B>,
        report: &mut MethodReport,
    ) -> Result<Vector<B>, bilevel_core::Error> {
        let settings = self.job.settings;
        let method: Box<dyn HypergradientMethod<B>> = match method {
            MethodName::Noisy | MethodName::Oracle => return Ok(oracle.upper_start()),
            MethodName::Rad => Box::new(Rad::new(self.descent()?)),
            MethodName::Cg => {
                let cg = Cg::new(settings.cg_iterations, settings.cg_tolerance)?;
                let cg = cg.with_damping(settings.cg_damping)?;
                Box::new(Implicit::new(self.descent()?, cg))
            }
        };
        let bar = self.bar(&report.name, settings.upper_steps);
        let upper = BurnOptimizer::new(AdamConfig::new().init(), x, settings.learning_rate)?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        // A step reports the point it was taken at, and moves on.
        let mut at = x.clone();
        let mut solver = HypergradientSolver::new(oracle, method, upper, x, y);
        let outcome = Executor::new(settings.upper_steps)?
            .with_seed(settings.seed, self.device.clone())
            .observe(|progress: &Progress<'_, B>| {
                let seen = progress.seen;
                report.seconds = progress.elapsed.as_secs_f64();
                let record = StepRecord {
                    step: progress.step as u64 - 1,
                    grad_norm: Some(seen.gradient_norm),
                    ..self.judge(oracle, progress.solver.y(), self.detection(oracle, &at), report)
                };
                at = progress.solver.x().clone();
                let accuracy = 100.0 * record.test_accuracy.unwrap_or(f64::NAN);
                bar.set_message(format!("test accuracy {accuracy:.1} %"));
                bar.inc(1);
                report.series.push(StepRecord {
                    upper_loss: Some(seen.upper_loss),
                    lower_loss: Some(seen.lower_loss),
                    ..record
                });
                ControlFlow::Continue(())
            })
            .run(&mut solver);
        bar.finish();
        let outcome = outcome?;
        report.status = format!("{} upper steps", outcome.steps);
        report.warnings = outcome.warnings as u64;
        if outcome.warnings > 0 {
            report.status +=
                &format!(", {} with a warning; the last: {}", outcome.warnings, outcome.status);
        }
        // A linear solver that stops early gives a usable hypergradient; these two do not.
        report.ok = !matches!(
            outcome.status,
            Status::NoDescent { .. } | Status::Implicit { solver: LinearStatus::Indefinite, .. }
        );
        Ok(solver.x().clone())
    }

    /// Trains with the weights of `x`, and judges the result: what the summary has.
    fn train(
        &self,
        x: &Vector<B>,
        oracle: &CleaningOracle<B>,
        report: &mut MethodReport,
    ) -> Result<(), bilevel_core::Error> {
        let descent = self.descent()?;
        let stage = Stage::new(oracle, x, Samples::default());
        // The one training of a baseline has a bar of its own, with a clock that runs.
        let bar = if report.baseline { self.bar(&report.name, 1) } else { ProgressBar::hidden() };
        bar.enable_steady_tick(Duration::from_millis(100));
        let begin = Instant::now();
        let end = descent.run(&stage, &oracle.lower_start())?;
        report.seconds += begin.elapsed().as_secs_f64();
        let upper_loss = stage.value(Level::Upper, &end.state.y).read();
        let detection = self.detection(oracle, x);
        let record = StepRecord {
            step: report.series.len() as u64,
            upper_loss: Some(upper_loss),
            lower_loss: Some(end.end_loss),
            ..self.judge(oracle, &end.state.y, detection, report)
        };
        (report.upper_loss, report.lower_loss) = (record.upper_loss, record.lower_loss);
        report.test_accuracy = record.test_accuracy;
        bar.inc(1);
        bar.finish();
        if report.baseline {
            report.status = format!("{} lower steps", descent.steps());
        } else {
            report.detection = detection;
            report.series.push(record);
        }
        if end.climbed() {
            report.ok = false;
            let (start, end) = (end.start_loss, end.end_loss);
            report.status += &format!("; {}", Status::NoDescent { start, end });
        }
        Ok(())
    }

    fn descent(&self) -> Result<Descent<B>, bilevel_core::Error> {
        let settings = self.job.settings;
        Descent::new(Gd::new(settings.step_size)?, settings.steps)
    }

    /// The figures of a point that only the report sees.
    fn judge(
        &self,
        oracle: &CleaningOracle<B>,
        y: &Vector<B>,
        detection: Option<Detection>,
        report: &MethodReport,
    ) -> StepRecord {
        StepRecord {
            seconds: report.seconds,
            test_accuracy: Some(self.test_accuracy(oracle, y)),
            f1: detection.map(|detection| detection.f1),
            ..StepRecord::default()
        }
    }

    // In parts: the hidden layer of a whole test set would be the peak of memory.
    fn test_accuracy(&self, oracle: &CleaningOracle<B>, y: &Vector<B>) -> f64 {
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
    fn detection(&self, oracle: &CleaningOracle<B>, x: &Vector<B>) -> Option<Detection> {
        let weights = oracle.upper_module(x).weights().into_data();
        let weights: Vec<f32> = weights.iter::<f32>().collect();
        Detection::from_weights(&weights, &self.job.corrupted.wrong, 0.5).ok()
    }

    fn bar(&self, name: &str, steps: usize) -> ProgressBar {
        if !self.job.progress {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{prefix:>8} {bar:30} {pos:>4}/{len:4} {elapsed:>4} (left {eta}) {msg}",
        );
        let bar = ProgressBar::new(steps as u64);
        bar.set_prefix(name.to_owned());
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

fn calls(cost: Cost) -> BTreeMap<String, u64> {
    [
        ("upper values", cost.upper_values),
        ("lower values", cost.lower_values),
        ("upper gradients", cost.upper_gradients),
        ("lower gradients", cost.lower_gradients),
        ("upper products", cost.upper_products),
        ("lower products", cost.lower_products),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(kind, count)| (kind.to_owned(), count))
    .collect()
}
