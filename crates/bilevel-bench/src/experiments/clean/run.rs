//! Learning the weights, and evaluating the rows.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use bilevel_core::catalogue::{At, Made};
use bilevel_core::{
    AutodiffOracle, Batch, BurnOptimizer, Counted, FullBatch, HypergradientSolver, JointSolver,
    Solver, Start, UpperStep, Wrt,
};
use bilevel_data::noise::{Detection, corrupt_labels};
use bilevel_data::table::{Scaling, Table};
use bilevel_data::{Digest, Purpose, digits, stream};
use bilevel_models::{Classifier, ClassifierConfig, cross_entropy};
use bilevel_program::{Recorded, Vector};
use burn::optim::AdamConfig;
use burn::optim::decay::WeightDecayConfig;
use burn::tensor::{Device, Tensor, TensorData, activation};
use rand::seq::SliceRandom;

use super::settings::Trusted;
use super::suspects::{Judged, write};
use super::{Method, Settings};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::hyper_cleaning::{HyperCleaning, Labelled, SampleWeights};
use crate::experiments::{Auto, Experiment, Run, Trial, own_table};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Offered, refuse};

/// Learning rate of the evaluating networks.
const JUDGE_RATE: f64 = 0.05;

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    pub(super) table: Table,
    /// From all rows: it does not use labels.
    pub(super) scaling: Scaling,
    /// The number of the data's own rows; those of a trusted file follow.
    pub(super) own: usize,
    /// The rows of the upper level, whose labels are correct.
    trusted: Vec<usize>,
    /// All other rows, in the order of the file.
    pub(super) others: Vec<usize>,
    /// For each of `others`: what is known of its label, correct (`false`) or wrong (`true`).
    pub(super) known: Vec<Option<bool>>,
    /// For each of `others`: whether it is a trusted row with a possibly planted label.
    pub(super) held: Vec<bool>,
    /// For all rows: the labels including the planted ones.
    pub(super) labels: Vec<u32>,
}

impl Experiment for Prepared {
    const NAME: &'static str = "clean";
    const ABOUT: &'static str =
        "Find the wrong labels of your own table, given a few trusted labels";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/clean.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let seed = settings.common.seed;
        let Read { table, trusted, own, wrong } = read(&settings)?;
        let rng = &mut stream(seed, Purpose::Planted);
        let mut order = trusted;
        order.shuffle(rng);
        // If all correct labels are known, nothing needs to be estimated.
        let share = if wrong.is_some() { 0.0 } else { settings.held_out.get() };
        let held = (share * order.len() as f64).round() as usize;
        let (held, trusted) = order.split_at(held.min(order.len().saturating_sub(1)));
        let mut labels = table.labels.clone();
        let given: Vec<u32> = held.iter().map(|&row| labels[row]).collect();
        let planted = corrupt_labels(&given, table.classes.len(), settings.planted.get(), rng)?;
        for (&row, label) in held.iter().zip(&planted.labels) {
            labels[row] = *label;
        }
        let of_trusted: HashSet<usize> = trusted.iter().copied().collect();
        let others: Vec<usize> =
            (0..labels.len()).filter(|row| !of_trusted.contains(row)).collect();
        let of_held: HashMap<usize, bool> =
            held.iter().copied().zip(planted.wrong.iter().copied()).collect();
        let held = others.iter().map(|row| of_held.contains_key(row)).collect();
        let known = |row: &usize| match &wrong {
            Some(wrong) => Some(wrong[*row]),
            None => of_held.get(row).copied(),
        };
        let known = others.iter().map(known).collect();
        if trusted.len() < table.classes.len() || others.len() <= trusted.len() / 2 {
            let found = format!("{} rows, beside {} others", trusted.len(), others.len());
            let expected =
                format!("a few of each of the {} classes, and others", table.classes.len());
            return Err(refuse("--trusted", found, &expected, "give another share or file"));
        }
        let scaling = Scaling::of(&table, &(0..labels.len()).collect::<Vec<_>>());
        let trusted = trusted.to_vec();
        Ok(Self { settings, trusted, table, scaling, own, others, known, held, labels })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.table.feed(to);
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let (_, oracle) = Bench::new(self, device).pose()?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let of_run = self.settings.of_methods(self.others.len());
        let way = (Start::Fixed, self.settings.common.seed);
        Auto::among::<Method>(&oracle, (&x, &y), way, &of_run).map(Some)
    }

    fn arrays(&self) -> Vec<Array> {
        vec![Array::new("the rows", [self.table.labels.len(), self.table.features.len()])]
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench::new(self, device);
        let methods = self.settings.method.iter();
        methods.map(|method| run.method(&method.name(), |trial| bench.run(method, trial))).collect()
    }
}

/// The data as read.
struct Read {
    table: Table,
    /// The rows whose labels are trusted.
    trusted: Vec<usize>,
    /// The number of the data's own rows.
    own: usize,
    /// Which labels are wrong, if known for all.
    wrong: Option<Vec<bool>>,
}

fn read(settings: &Settings) -> Result<Read, BenchError> {
    let seed = settings.common.seed;
    let file = match settings.trusted() {
        Trusted::File(path) => Some(path),
        Trusted::Share(_) => None,
    };
    let Some(data) = &settings.data else {
        return embedded(settings);
    };
    let paths: Vec<_> = [Some(data), file.as_ref()].into_iter().flatten().map(|p| &**p).collect();
    let (mut table, counts) = own_table::read(&paths, settings.label.as_deref())?;
    let trusted = match settings.trusted() {
        Trusted::File(_) => (counts[0]..table.labels.len()).collect(),
        Trusted::Share(share) => some(table.labels.len(), share, seed),
    };
    let wrong = match &settings.right_labels {
        Some(path) => Some(correct(&mut table, &trusted, path)?),
        None => None,
    };
    Ok(Read { table, trusted, own: counts[0], wrong })
}

/// Gives trusted rows their correct labels, and returns which labels of the table are wrong.
fn correct(table: &mut Table, trusted: &[usize], path: &Path) -> Result<Vec<bool>, BenchError> {
    let right = table.classes_of(&table.labels_in(path)?, path)?;
    let wrong = table.labels.iter().zip(&right).map(|(given, right)| given != right).collect();
    trusted.iter().for_each(|&row| table.labels[row] = right[row]);
    Ok(wrong)
}

/// The digits, with a fifth of the labels that are not trusted corrupted.
fn embedded(settings: &Settings) -> Result<Read, BenchError> {
    const WRONG: f64 = 0.2;
    let seed = settings.common.seed;
    let Trusted::Share(share) = settings.trusted() else {
        let cure = "give --data too, or a share";
        return Err(refuse("--trusted", &settings.trusted, "a share of the digits", cure));
    };
    let set = digits::load()?;
    let trusted = some(set.len(), share, seed);
    let others: Vec<usize> = (0..set.len()).filter(|row| !trusted.contains(row)).collect();
    let right: Vec<u32> = others.iter().map(|&row| set.labels()[row]).collect();
    let wrong = corrupt_labels(&right, set.classes(), WRONG, &mut stream(seed, Purpose::Noise))?;
    let mut labels = set.labels().to_vec();
    for (&row, label) in others.iter().zip(wrong.labels) {
        labels[row] = label;
    }
    let own = labels.len();
    Ok(Read { table: Table::of_images(&set.with_labels(labels)?), trusted, own, wrong: None })
}

/// A random fraction of the rows.
fn some(rows: usize, share: f64, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut stream(seed, Purpose::Split));
    order.truncate((share * rows as f64).round() as usize);
    order
}

/// Rows with one weight each.
#[derive(Clone, Debug, Batch)]
struct Weighted {
    rows: Labelled,
    /// `[n]`
    weights: Tensor<1>,
}

type CleaningOracle = Counted<AutodiffOracle<HyperCleaning, FullBatch<Labelled>>>;

/// The data on a device, and state shared by all methods.
struct Bench<'a> {
    of: &'a Prepared,
    data: FullBatch<Labelled>,
    classifier: ClassifierConfig,
    device: Device,
}

impl<'a> Bench<'a> {
    fn new(of: &'a Prepared, device: Device) -> Self {
        let rows = |rows: &[usize]| of.rows(rows, &device);
        let data = FullBatch { upper: rows(&of.trusted), lower: rows(&of.others) };
        let classifier = of.settings.network.config(&of.table);
        Self { of, data, classifier, device }
    }

    /// x, and the problem at its start.
    fn pose(&self) -> Result<(SampleWeights, CleaningOracle), BenchError> {
        self.device.seed(self.of.settings.common.seed);
        let x = SampleWeights::new(vec![0.0; self.of.others.len()], &self.device);
        let y = self.classifier.init(&self.device);
        let problem = HyperCleaning { decay: 0.0 };
        Ok((x.clone(), Counted::new(AutodiffOracle::new(problem, &x, &y, self.data.clone())?)))
    }

    fn run(&self, method: &Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let Settings { common, .. } = &self.of.settings;
        self.device.seed(common.seed);
        let n = self.of.others.len();
        let weights = match method {
            Method::Bilevel(method) => self.learn(method, trial)?,
            Method::Noisy | Method::CleanLabels => {
                trial.report.baseline = true;
                vec![1.0; n]
            }
        };
        let judged = trial.timed(|| self.judge(&weights))?;
        self.report(&judged, &mut trial.report)?;
        write(self.of, &judged, &method.name(), trial.folder())
    }

    /// The weights, by a bilevel method.
    fn learn(&self, method: &Catalogued, trial: &mut Trial<'_>) -> Result<Vec<f32>, BenchError> {
        let Settings { common, upper, .. } = &self.of.settings;
        let (module, oracle) = self.pose()?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let at = At { x: &x, y: &y, seed: common.seed };
        let (made, of_methods) =
            method.make(&self.of.settings.of_methods(self.of.others.len()), &at)?;
        let mut solver: Box<dyn Solver + '_> = match made {
            Made::Hypergradient(method) => {
                let rate = upper.learning_rate.get();
                let adam = BurnOptimizer::new(AdamConfig::new().build(), &module, rate)?;
                let start = match method.differentiates_start() {
                    true => Start::Learned { step_size: of_methods.step_size },
                    false => Start::Fixed,
                };
                Box::new(HypergradientSolver::new(&oracle, method, adam, x, y).with_start(start)?)
            }
            Made::Joint(method) => Box::new(JointSolver::new(&oracle, method, x, y)?),
        };
        let seed = (common.seed, self.device.clone());
        trial.drive(&mut *solver, upper.upper_steps.get(), seed, |_, _| StepRecord::default())?;
        let weights = oracle.upper_module(solver.x()).weights().into_data();
        Ok(weights.iter::<f32>().collect())
    }

    /// The predictions of networks that were not trained on the respective rows.
    fn judge(&self, weights: &[f32]) -> Result<Vec<Judged>, BenchError> {
        let Prepared { settings, others, trusted, table, labels, .. } = self.of;
        let classes = table.classes.len();
        let mut order: Vec<usize> = (0..others.len()).collect();
        order.shuffle(&mut stream(settings.common.seed, Purpose::Split));
        let mut judged = vec![Judged::default(); others.len()];
        let folds = settings.folds.get();
        for fold in 0..folds {
            let of_fold = |place: usize| place % folds == fold;
            let places = || order.iter().copied().enumerate();
            let inside: Vec<usize> = places().filter(|(at, _)| of_fold(*at)).map(|p| p.1).collect();
            let outside: Vec<usize> =
                places().filter(|(at, _)| !of_fold(*at)).map(|p| p.1).collect();
            let rows: Vec<usize> =
                outside.iter().map(|&at| others[at]).chain(trusted.iter().copied()).collect();
            let of_rows = outside.iter().map(|&at| weights[at]);
            let of_rows: Vec<f32> = of_rows.chain(trusted.iter().map(|_| 1.0)).collect();
            let network = self.train(&rows, of_rows)?;
            let rows: Vec<usize> = inside.iter().map(|&at| others[at]).collect();
            let inputs = self.of.rows(&rows, &self.device).inputs;
            let shares = activation::softmax(network.forward(inputs), 1).into_data();
            let shares: Vec<f32> = shares.iter::<f32>().collect();
            for (&at, shares) in inside.iter().zip(shares.chunks_exact(classes)) {
                judged[at] = Judged::new(others[at], labels[others[at]], weights[at], shares);
            }
        }
        Ok(judged)
    }

    /// A network trained on weighted rows.
    fn train(&self, rows: &[usize], weights: Vec<f32>) -> Result<Classifier, BenchError> {
        let unrecorded = |error| bilevel_core::Error::of_recording("the loss of a network", error);
        let n = rows.len();
        let sum: f32 = weights.iter().sum();
        let batch = Weighted {
            rows: self.of.rows(rows, &self.device),
            weights: Tensor::from_data(TensorData::new(weights, [n]), &self.device),
        };
        let network = self.classifier.init(&self.device);
        // Combined with an empty module.
        let loss = |_: &Vec<Classifier>, network: &Classifier, batch: &Weighted| {
            let Labelled { inputs, labels, .. } = &batch.rows;
            let losses = cross_entropy(network.forward(inputs.clone()), labels.clone());
            (batch.weights.clone() * losses).sum() / batch.weights.clone().sum()
        };
        let recorded = Recorded::new(&Vec::new(), &network).map_err(unrecorded)?;
        let nothing = Vector::from_module(recorded.upper_layout(), recorded.x());
        // As a prior of variance 1 for the weights of standardised features, whose squares are scaled to 1 / features.
        let decay = 1.0 / (sum.max(1.0) * self.of.table.features.len() as f32);
        let adam = AdamConfig::new().with_weight_decay(Some(WeightDecayConfig::new(decay)));
        let mut adam = BurnOptimizer::new(adam.build(), &network, JUDGE_RATE)?;
        let mut y = Vector::from_module(recorded.lower_layout(), &network);
        for _ in 0..self.of.settings.judge_steps.get() {
            let found = recorded.gradient(&nothing, &y, &batch, Wrt::Y, &loss);
            y = adam.step(&y, &found.map_err(unrecorded)?.1.into_y());
        }
        Ok(y.write_into(network))
    }

    /// The detection quality on the planted errors.
    fn report(&self, judged: &[Judged], report: &mut MethodReport) -> Result<(), BenchError> {
        let known =
            self.of.known.iter().zip(judged).filter_map(|(known, of)| Some(((*known)?, of)));
        let known: Vec<(bool, &Judged)> = known.collect();
        let wrong: Vec<bool> = known.iter().map(|(wrong, _)| *wrong).collect();
        let kept: Vec<f32> = known.iter().map(|(_, of)| f32::from(!of.is_suspect())).collect();
        let planted = wrong.iter().filter(|wrong| **wrong).count();
        if planted > 0 {
            report.detection = Some(Detection::from_weights(&kept, &wrong, 0.5)?);
        }
        report.figures.insert("known errors".into(), planted as f64);
        let rows = judged.iter().zip(&self.of.held).filter(|(_, held)| !**held);
        let suspects = rows.filter(|(of, _)| of.is_suspect()).count();
        report.figures.insert("suspects".into(), suspects as f64);
        if let Some(precision) = average_precision(&known) {
            report.figures.insert("average precision %".into(), 100.0 * precision);
        }
        Ok(())
    }
}

/// For planted errors among rows ordered by suspicion.
fn average_precision(known: &[(bool, &Judged)]) -> Option<f64> {
    let mut sorted = known.to_vec();
    sorted.sort_by(|a, b| a.1.given.total_cmp(&b.1.given));
    let wrong = sorted.iter().filter(|(wrong, _)| *wrong).count();
    let (mut found, mut sum) = (0, 0.0);
    for (at, (wrong, _)) in sorted.iter().enumerate() {
        if *wrong {
            found += 1;
            sum += f64::from(found) / (at + 1) as f64;
        }
    }
    (wrong > 0).then(|| sum / wrong as f64)
}

impl Prepared {
    /// Rows on a device, with the given labels.
    fn rows(&self, rows: &[usize], device: &Device) -> Labelled {
        let features = self.table.features.len();
        let inputs = self.scaling.inputs(&self.table, rows);
        let labels: Vec<i32> = rows.iter().map(|&row| self.labels[row] as i32).collect();
        Labelled {
            inputs: Tensor::from_data(TensorData::new(inputs, [rows.len(), features]), device),
            labels: Tensor::from_data(TensorData::new(labels, [rows.len()]), device),
            rows: None,
        }
    }
}
