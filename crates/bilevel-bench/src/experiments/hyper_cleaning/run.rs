//! Running the methods and measuring them.

use bilevel_core::catalogue::{self, At, Made};
use bilevel_core::{
    Alone, AutodiffOracle, Batches, BurnOptimizer, Counted, DataParallel, Descent, Gd, Group,
    HypergradientSolver, JointSolver, LowerProblem, Nesterov, Objective, Samples, Solver, Start,
    Status,
};
use bilevel_models::{ClassifierConfig, accuracy};
use bilevel_program::Vector;
use burn::optim::AdamConfig;
use burn::tensor::Device;

use super::{HyperCleaning, Labelled, Method, SampleWeights, Settings};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::images::{Read, read};
use crate::experiments::run::ends_method;
use crate::experiments::{Auto, Checked, Experiment, Run, Trial};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Offered};
use bilevel_data::Digest;
use bilevel_data::noise::{Corrupted, Detection, corrupt_labels};
use bilevel_data::split::{Parts, SplitSizes, split};
use bilevel_data::{Dataset, Purpose, stream};

/// Test samples evaluated at once.
const TEST_PART: usize = 2000;

/// Logit of a weight that is 1 or 0 to four digits.
const SURE: f32 = 10.0;

/// Steps of the training on kept samples.
const KEPT_STEPS: usize = 1000;

/// The experiment and its data.
pub struct Prepared {
    pub(super) settings: Settings,
    pub(super) parts: Parts,
    corrupted: Corrupted,
}

impl Experiment for Prepared {
    const NAME: &'static str = "hyper-cleaning";
    const ABOUT: &'static str = "Find the wrong labels of a training set: one weight per sample, learned on clean \
                                 validation data";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/hyper-cleaning.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let Read { set, test, .. } = read(settings.common.data_dir.as_deref())?;
        let set = match test {
            None => set,
            Some(test) => set.join(test)?,
        };
        let sizes = SplitSizes {
            train: settings.split.train.get(),
            validation: settings.split.validation.get(),
        };
        let seed = settings.common.seed;
        let mut parts = split(&set, sizes, seed)?.apply(&set)?;
        let rng = &mut stream(seed, Purpose::Noise);
        let (labels, classes) = (parts.train.labels(), parts.train.classes());
        let corrupted = corrupt_labels(labels, classes, settings.noise.get(), rng)?;
        parts.train = parts.train.with_labels(corrupted.labels.clone())?;
        Ok(Self { settings, parts, corrupted })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.parts.feed(to);
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench::new(self, device, run.ranks())?;
        let methods = self.settings.method.iter();
        methods.map(|method| run.method(&method.name(), |trial| bench.run(method, trial))).collect()
    }

    fn arrays(&self) -> Vec<Array> {
        let Parts { train, validation, .. } = &self.parts;
        let hidden = |set| self.settings.network.hidden(set);
        let kept = self.settings.keep_above.map_or(0, |_| train.len() + validation.len());
        vec![
            Array::new("the samples that are kept", [kept, train.features()]),
            Array::new("the hidden layers of the samples that are kept", [kept, hidden(train)]),
            Array::new("the training samples", [train.len(), train.features()]),
            Array::new("the hidden layers of the training samples", [train.len(), hidden(train)]),
            Array::new("the validation samples", [validation.len(), validation.features()]),
            Array::new(
                "the hidden layers of the validation samples",
                [validation.len(), hidden(validation)],
            ),
        ]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let bench = Bench::new(self, device, &Alone)?;
        let (_, oracle) = bench.pose(vec![0.0; self.parts.train.len()])?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let way = (Start::Fixed, self.settings.common.seed);
        Auto::among::<Method>(&oracle, (&x, &y), way, &bench.of_methods).map(Some)
    }

    fn check(&self) -> Result<Option<Checked>, BenchError> {
        self.derivatives().map(Some)
    }
}

type CleaningOracle =
    Counted<DataParallel<AutodiffOracle<HyperCleaning, Batches<Labelled>>, &'static dyn Group>>;

/// The data on a device, and state shared by all methods.
struct Bench<'a> {
    settings: &'a Settings,
    of_methods: catalogue::Settings,
    parts: &'a Parts,
    /// Which labels are wrong: for the report only.
    wrong: &'a [bool],
    device: Device,
    /// A batch for each shard of this rank.
    data: Batches<Labelled>,
    ranks: &'static dyn Group,
    /// In parts: the hidden layer of a whole test set would be the peak of memory, and a large one exceeds the largest
    /// array of some devices.
    test: Vec<Labelled>,
    classifier: ClassifierConfig,
}

/// A set on a device, in arrays of [`TEST_PART`] samples.
fn in_parts(set: &Dataset, device: &Device) -> Result<Vec<Labelled>, BenchError> {
    let all: Vec<usize> = (0..set.len()).collect();
    all.chunks(TEST_PART).map(|part| Ok(Labelled::new(&set.select(part)?, device))).collect()
}

/// Learned weights, and how to train with them.
struct Learned {
    x: Vector,
    descent: Descent,
    start: Vector,
}

impl<'a> Bench<'a> {
    fn new(
        prepared: &'a Prepared,
        device: Device,
        ranks: &'static dyn Group,
    ) -> Result<Self, BenchError> {
        let Prepared { settings, parts, corrupted } = prepared;
        let Parts { train, validation, test } = parts;
        let shards = settings.shards();
        let own = |set: &Dataset| Labelled::new(set, &device).parts(ranks.share(shards), shards);
        let data = Batches::new(own(validation), own(train))?;
        Ok(Self {
            settings,
            of_methods: settings.of_methods(),
            parts,
            wrong: &corrupted.wrong,
            data,
            ranks,
            test: in_parts(test, &device)?,
            classifier: settings.network.config(train),
            device,
        })
    }

    /// x and the problem, from the common start of all methods, except for the weights.
    fn pose(&self, logits: Vec<f32>) -> Result<(SampleWeights, CleaningOracle), BenchError> {
        self.pose_on(logits, self.data.clone(), self.ranks, self.settings.shards())
    }

    /// [`Bench::pose`] on other data, in so many shards.
    fn pose_on(
        &self,
        logits: Vec<f32>,
        data: Batches<Labelled>,
        ranks: &'static dyn Group,
        shards: usize,
    ) -> Result<(SampleWeights, CleaningOracle), BenchError> {
        self.device.seed(self.settings.common.seed);
        let x = SampleWeights::new(logits, &self.device);
        let y = self.classifier.init(&self.device);
        let problem = HyperCleaning { decay: self.settings.decay.get() };
        let oracle = AutodiffOracle::new(problem, &x, &y, data)?;
        Ok((x, Counted::new(DataParallel::new(oracle, ranks, shards)?)))
    }

    /// One method, from the same start as all others.
    fn run(&self, method: &Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let logits = match method {
            Method::Noisy => vec![SURE; self.wrong.len()],
            Method::CleanLabels => {
                self.wrong.iter().map(|&wrong| if wrong { -SURE } else { SURE }).collect()
            }
            Method::Bilevel(_) => vec![0.0; self.wrong.len()],
        };
        let (x, oracle) = self.pose(logits)?;
        let learned = match method {
            Method::Bilevel(method) => self.learn(method, &x, &oracle, trial)?,
            Method::Noisy | Method::CleanLabels => {
                trial.report.baseline = true;
                let descent = self.of_methods.descent()?;
                Learned { x: oracle.upper_start(), descent, start: oracle.lower_start() }
            }
        };
        self.train(&learned, &oracle, trial)?;
        match self.settings.keep_above {
            Some(least) => self.train_on_kept(&learned.x, &oracle, least.get(), trial),
            None => Ok(()),
        }
    }

    /// The weights learned by a bilevel method.
    fn learn(
        &self,
        method: &Catalogued,
        module: &SampleWeights,
        oracle: &CleaningOracle,
        trial: &mut Trial<'_>,
    ) -> Result<Learned, BenchError> {
        let settings = self.settings;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let at = At { x: &x, y: &y, seed: settings.common.seed };
        let entry = method.entry;
        let (made, of_methods) = method.make(&self.of_methods, &at)?;
        match made {
            Made::Hypergradient(method) => {
                let rate = settings.upper.learning_rate.get();
                let upper = BurnOptimizer::new(AdamConfig::new().build(), module, rate)?;
                let start = match method.differentiates_start() {
                    true => Start::Learned { step_size: of_methods.step_size },
                    false => Start::Fixed,
                };
                let solver = HypergradientSolver::new(oracle, method, upper, x, y);
                let mut solver = solver.with_start(start)?;
                self.drive(&mut solver, oracle, trial)?;
                let steps = settings.upper.upper_steps.get() as f64;
                if entry.name == "iaptt" {
                    // A backward step takes one product: there are k-bar of T at an upper step.
                    let products = trial.report.oracle_calls.get("lower products");
                    let products = products.copied().unwrap_or(0) as f64;
                    trial.report.figures.insert("k-bar".into(), products / steps);
                }
                let descent = match entry.name {
                    "bda" => of_methods.aggregated()?,
                    "ia-gm-a" => {
                        let nesterov = Nesterov::new(of_methods.step_size)?;
                        Descent::new(nesterov, of_methods.lower_steps)?
                    }
                    _ => of_methods.descent()?,
                };
                let start = solver.lower_start().clone();
                Ok(Learned { x: solver.x().clone(), descent, start })
            }
            Made::Joint(method) => {
                let start = y.clone();
                let mut solver = JointSolver::new(oracle, method, x, y)?;
                self.drive(&mut solver, oracle, trial)?;
                let descent = of_methods.descent()?;
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
        let seed = (self.settings.common.seed, self.device.clone());
        trial.drive(solver, self.settings.upper.upper_steps.get(), seed, |x, progress| {
            self.judge(oracle, progress.solver.y(), self.detection(oracle, x))
        })?;
        Ok(())
    }

    /// Trains with the learned weights, and evaluates the result for the summary.
    fn train(
        &self,
        learned: &Learned,
        oracle: &CleaningOracle,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let problem = LowerProblem::new(oracle, &learned.x, Samples::default());
        let end = trial.timed(|| learned.descent.run(&problem, &learned.start))?;
        let upper_loss = problem.value(Objective::Upper, &end.state.y).read();
        let detection = self.detection(oracle, &learned.x);
        trial.count(oracle.cost());
        let report = &mut trial.report;
        let record = StepRecord {
            step: report.series.len() as u64,
            retrained: true,
            seconds: report.seconds,
            calls: report.total_calls(),
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
        if let Some(climbed) = Status::of_descent(&end) {
            report.ok = false;
            report.status += &format!("; {climbed}");
        }
        Ok(())
    }

    /// Trains from the common start on the validation samples and the training samples whose weight in x is above
    /// `least`, all with the same weight, and reports the test accuracy. Every rank does all of it.
    fn train_on_kept(
        &self,
        x: &Vector,
        oracle: &CleaningOracle,
        least: f64,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let Parts { train, validation, .. } = self.parts;
        let weights = oracle.upper_module(x).weights().into_data();
        let weights = weights.iter::<f64>().enumerate();
        let kept: Vec<usize> = weights.filter(|(_, w)| *w > least).map(|(at, _)| at).collect();
        let set = match kept.is_empty() {
            true => validation.clone(),
            false => train.select(&kept)?.join(validation.clone())?,
        };
        let of = |set| vec![Labelled::new(set, &self.device)];
        let data = Batches::new(of(validation), of(&set))?;
        let (_, oracle) = self.pose_on(vec![SURE; set.len()], data, &Alone, 1)?;
        let weights = oracle.upper_start();
        let problem = LowerProblem::new(&oracle, &weights, Samples::default());
        let descent = Descent::new(Gd::new(self.of_methods.step_size)?, KEPT_STEPS)?;
        let report = &mut trial.report;
        report.figures.insert("kept samples".into(), kept.len() as f64);
        let failed = match descent.run(&problem, &oracle.lower_start()).map_err(BenchError::from) {
            Ok(end) => {
                let accuracy = 100.0 * self.test_accuracy(&oracle, &end.state.y);
                report.figures.insert("accuracy on kept %".into(), accuracy);
                Status::of_descent(&end).map(|climbed| climbed.to_string())
            }
            Err(error) if ends_method(&error) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Some(failed) = failed {
            report.ok = false;
            report.status += &format!("; training on kept samples: {failed}");
        }
        Ok(())
    }

    /// The quantities at a point for the report only.
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

    fn test_accuracy(&self, oracle: &CleaningOracle, y: &Vector) -> f64 {
        let network = oracle.lower_module(y);
        let (mut right, mut all) = (0.0, 0);
        for Labelled { inputs, labels, .. } in &self.test {
            let n = labels.dims()[0];
            right += accuracy(network.forward(inputs.clone()), labels.clone()) * n as f64;
            all += n;
        }
        right / all as f64
    }

    /// How well the weights detect the wrong labels; none if a weight is not finite.
    fn detection(&self, oracle: &CleaningOracle, x: &Vector) -> Option<Detection> {
        let weights = oracle.upper_module(x).weights().into_data();
        let weights: Vec<f32> = weights.iter::<f32>().collect();
        Detection::from_weights(&weights, self.wrong, 0.5).ok()
    }
}
