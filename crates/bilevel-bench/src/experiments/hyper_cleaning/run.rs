//! Running the methods and measuring them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use bilevel_autodiff::Vector;
use bilevel_core::lower::Keep;
use bilevel_core::{
    AutodiffOracle, BurnOptimizer, Cg, Cost, Descent, Executor, FullBatch, Gd, HypergradientMethod,
    HypergradientSolver, Implicit, Level, Oracle, Point, Progress, Rad, Sample, Solver, Status,
};
use bilevel_models::{ClassifierConfig, MlpConfig, SoftmaxRegressionConfig, accuracy};
use burn::backend::Autodiff;
use burn::optim::AdamConfig;
use burn::tensor::backend::Backend;
use indicatif::{ProgressBar, ProgressStyle};

use super::{HyperCleaning, Labelled, MethodName, ModelName, SampleWeights, Settings};
use crate::backend::{Job, run_on};
use crate::data::noise::{Corrupted, Detection, corrupt_labels};
use crate::data::split::{Parts, SplitSizes, split};
use crate::data::{Dataset, Purpose, digits, mnist, stream};
use crate::error::BenchError;
use crate::memory::Phase;
use crate::report::{MethodReport, ReportError, RunReport, StepRecord};

/// Logit of a weight that is 1 or 0 to four digits.
const SURE: f32 = 10.0;

/// Runs all methods of `settings`. A method that fails is reported as such, and the others go on.
///
/// # Errors
/// If the data, the backend or a setting cannot be used.
pub fn run(settings: &Settings, progress: bool) -> Result<RunReport, BenchError> {
    let (parts, corrupted) = prepare(settings)?;
    let job = Methods { settings, parts: &parts, corrupted: &corrupted, progress };
    let methods = run_on(settings.backend, job)??;
    let table = toml::Table::try_from(settings)
        .map_err(|cause| ReportError::Format { file: "settings.toml", what: cause.to_string() })?;
    Ok(RunReport {
        experiment: "hyper-cleaning".into(),
        seed: settings.seed,
        settings: table,
        methods,
    })
}

/// Reads, splits and corrupts the data.
fn prepare(settings: &Settings) -> Result<(Parts, Corrupted), BenchError> {
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
    Ok((parts, corrupted))
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
        let (features, classes) = (train.features(), train.classes());
        let classifier = match job.settings.model {
            ModelName::Softmax => {
                ClassifierConfig::Softmax(SoftmaxRegressionConfig::new(features, classes))
            }
            ModelName::Mlp => ClassifierConfig::Mlp(MlpConfig::new(vec![features, 300, classes])),
        };
        let data = FullBatch { upper: labelled(validation), lower: labelled(train) };
        let test = labelled(test);
        Self { job, device, data, test, classifier }
    }

    /// One method, from the same start as all others.
    fn run(&self, method: MethodName) -> Result<MethodReport, BenchError> {
        let settings = self.job.settings;
        let phase = Phase::start();
        let begin = Instant::now();
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
        let descent = Descent::new(Gd::new(settings.step_size)?, settings.steps)?;
        let mut report = MethodReport { name: method.as_str().into(), ..MethodReport::default() };
        let outcome = match method {
            MethodName::Rad => self.descend(Rad::new(descent), &x, &oracle, &mut report),
            MethodName::Cg => {
                let cg = Cg::new(settings.cg_iterations, 1e-6)?;
                let cg = cg.with_damping(settings.cg_damping)?;
                self.descend(Implicit::new(descent, cg), &x, &oracle, &mut report)
            }
            MethodName::Noisy | MethodName::Oracle => {
                report.baseline = true;
                self.train(&descent, &oracle, &mut report)
            }
        };
        match outcome {
            Ok((ok, status)) => (report.ok, report.status) = (ok, status),
            Err(error @ bilevel_core::Error::InvalidSetting { .. }) => return Err(error.into()),
            Err(error) => report.status = error.to_string(),
        }
        if report.baseline {
            report.seconds = begin.elapsed().as_secs_f64();
        }
        report.peak_memory = phase.peak();
        report.oracle_calls = calls(oracle.cost());
        Ok(report)
    }

    /// A bilevel method: learns the weights.
    fn descend(
        &self,
        method: impl HypergradientMethod<B> + 'static,
        x: &SampleWeights<Autodiff<B>>,
        oracle: &CleaningOracle<B>,
        report: &mut MethodReport,
    ) -> Result<(bool, String), bilevel_core::Error> {
        let settings = self.job.settings;
        let bar = self.bar(&report.name);
        let upper = BurnOptimizer::new(AdamConfig::new().init(), x, settings.learning_rate)?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let mut solver = HypergradientSolver::new(oracle, method, upper, x, y);
        // A step reports the point it was taken at; the weights it led to are judged at the next.
        let mut before = solver.x().clone();
        let outcome = Executor::new(settings.upper_steps)?
            .with_seed(settings.seed, self.device.clone())
            .observe(|progress: &Progress<'_, B>| {
                let accuracy = self.test_accuracy(oracle, progress.solver.y());
                let detection = self.detection(oracle, &before);
                before = progress.solver.x().clone();
                report.series.push(StepRecord {
                    step: progress.step as u64,
                    seconds: progress.elapsed.as_secs_f64(),
                    upper_loss: Some(progress.seen.upper_loss.read()),
                    lower_loss: Some(progress.seen.lower_loss.read()),
                    test_accuracy: Some(accuracy),
                    f1: detection.map(|detection| detection.f1),
                    grad_norm: Some(progress.seen.gradient_norm),
                });
                bar.set_message(format!("test accuracy {:.1} %", 100.0 * accuracy));
                bar.inc(1);
                ControlFlow::Continue(())
            })
            .run(&mut solver);
        bar.finish();
        if let Some(last) = report.series.last() {
            report.seconds = last.seconds;
            (report.upper_loss, report.lower_loss) = (last.upper_loss, last.lower_loss);
            report.test_accuracy = last.test_accuracy;
        }
        let outcome = outcome?;
        report.detection = self.detection(oracle, &before);
        let mut status = format!("{} upper steps", outcome.steps);
        if outcome.warnings > 0 {
            status +=
                &format!(", {} with a warning; the last: {}", outcome.warnings, outcome.status);
        }
        // A linear solver that stops early gives a usable hypergradient; a lower level that climbs does not.
        Ok((!matches!(outcome.status, Status::NoDescent { .. }), status))
    }

    /// A baseline: trains with fixed weights.
    fn train(
        &self,
        descent: &Descent<B>,
        oracle: &CleaningOracle<B>,
        report: &mut MethodReport,
    ) -> Result<(bool, String), bilevel_core::Error> {
        let bar = self.bar(&report.name);
        let (x, start) = (oracle.upper_start(), oracle.lower_start());
        let sample = Sample::default();
        let y = &descent.run(oracle, &x, &start, sample, Keep::Last)?.y;
        let loss = |level| Some(oracle.value(level, Point { x: &x, y, sample }).read());
        (report.upper_loss, report.lower_loss) = (loss(Level::Upper), loss(Level::Lower));
        report.test_accuracy = Some(self.test_accuracy(oracle, y));
        bar.finish();
        Ok((true, format!("{} lower steps", descent.steps())))
    }

    fn test_accuracy(&self, oracle: &CleaningOracle<B>, y: &Vector<B>) -> f64 {
        let logits = oracle.lower_module(y).forward(self.test.inputs.clone());
        accuracy(logits, self.test.labels.clone())
    }

    /// How well the weights find the wrong labels; none where a weight is not a number.
    fn detection(&self, oracle: &CleaningOracle<B>, x: &Vector<B>) -> Option<Detection> {
        let weights = oracle.upper_module(x).weights().into_data();
        let weights: Vec<f32> = weights.iter::<f32>().collect();
        Detection::from_weights(&weights, &self.job.corrupted.wrong, 0.5).ok()
    }

    fn bar(&self, name: &str) -> ProgressBar {
        if !self.job.progress {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{prefix:>8} {bar:30} {pos:>4}/{len:4} {elapsed:>4} (left {eta}) {msg}",
        );
        let bar = ProgressBar::new(self.job.settings.upper_steps as u64);
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
