//! Searching for a cell, and training networks of cells.

use std::collections::BTreeMap;

use bilevel_core::{
    AutodiffOracle, Counted, Objective, Oracle, Sample, Samples, Schedule, Snapshot, Start,
};
use bilevel_data::loader::ImageBatches;
use bilevel_data::{Purpose, stream};
use bilevel_models::{Architecture, CellGraph, CellNetwork, ImageClassifierConfig, Operation};
use bilevel_program::Vector;
use burn::optim::AdamConfig;
use burn::tensor::Device;
use rand::Rng;

use super::angles::angles;
use super::data::Sets;
use super::look::Look;
use super::{Reference, Search, Settings, draw};
use crate::backend::{Array, flex_in_f64};
use crate::error::BenchError;
use crate::experiments::derivatives::{BETWEEN_KINKS, derivatives};
use crate::experiments::images::train_on;
use crate::experiments::posed::Posed;
use crate::experiments::{Auto, Checked, Experiment, Run, Trial, looks};
use crate::report::convergence::{Axis, Chart, Curve, panels};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Chosen, Offered};

/// Number of evaluations of a search.
const LOOKS: usize = 20;
/// Samples for checking derivatives.
const CHECKED: usize = 3;

/// The normal cell and the reduction cell.
type Cells = (CellGraph, CellGraph);

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    sets: Sets,
}

impl Experiment for Prepared {
    const NAME: &'static str = "nas";
    const ABOUT: &'static str = "Search for the operations of a network's cells";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/nas.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let sets = Sets::read(&settings)?;
        Ok(Self { settings, sets })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        self.sets.feed(to);
    }

    fn arrays(&self) -> Vec<Array> {
        let Settings { batch, channels, retrain_channels, nodes, stem_stride, .. } = &self.settings;
        let [_, height, width] = self.sets.train.shape();
        let pixels = height.div_ceil(stem_stride.get()) * width.div_ceil(stem_stride.get());
        let widest = channels.get().max(retrain_channels.get()) * nodes.get() * pixels;
        vec![Array::new("the output of a cell for a batch", [batch.get(), widest])]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let (_, oracle) = searched(&self.settings, &self.sets, &device)?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let way = (Start::Warm, self.settings.common.seed);
        Auto::among::<Chosen<Reference>>(&oracle, (&x, &y), way, &self.settings.of_methods())
            .map(Some)
    }

    fn check(&self) -> Result<Option<Checked>, BenchError> {
        let device = flex_in_f64()?;
        let both = start(&self.settings, &self.sets, &device);
        let batch = |objective, device: &_| {
            let set = match objective {
                Objective::Upper => &self.sets.validation,
                Objective::Lower => &self.sets.train,
            };
            self.sets.batch(set, CHECKED, device)
        };
        let problem = Search { decay: self.settings.decay.get() };
        let seed = self.settings.common.seed;
        Ok(Some(derivatives(&problem, both, batch, seed, &BETWEEN_KINKS)?))
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench { settings: &self.settings, sets: &self.sets, device };
        let methods = self.settings.method.iter();
        let mut reports = methods
            .map(|method| run.method(&method.name(), |trial| bench.run(method, trial)))
            .collect::<Result<Vec<_>, _>>()?;
        rank(&mut reports);
        bench.draw(&reports, run)?;
        Ok(reports)
    }
}

/// The name of the random cells' report.
const RANDOM: &str = "random";

/// The position of each method among the random cells, 1 being the best.
fn rank(reports: &mut [MethodReport]) {
    let random = reports.iter().find(|report| report.name == RANDOM);
    let Some(random) = random.map(|report| report.series.clone()) else { return };
    for report in reports.iter_mut().filter(|report| report.name != RANDOM) {
        let Some(accuracy) = report.test_accuracy else { continue };
        let better = random.iter().filter(|cell| cell.test_accuracy > Some(accuracy)).count();
        report.figures.insert(format!("rank of {}", random.len() + 1), (better + 1) as f64);
    }
}

/// Both variables at the start of a search.
fn start(settings: &Settings, sets: &Sets, device: &Device) -> (Architecture, CellNetwork) {
    device.seed(settings.common.seed);
    let (reduces, weighted) = (settings.stages.get() > 1, settings.partial.get() > 1);
    let x = Architecture::uniform(settings.nodes.get(), reduces, weighted, device);
    (x, settings.searched(&sets.train).init(device))
}

type SearchOracle = AutodiffOracle<Search, ImageBatches>;

/// The architecture where a search starts, and its problem.
fn searched(
    settings: &Settings,
    sets: &Sets,
    device: &Device,
) -> Result<(Architecture, SearchOracle), BenchError> {
    let (x, y) = start(settings, sets, device);
    let problem = Search { decay: settings.decay.get() };
    let oracle = AutodiffOracle::new(problem, &x, &y, sets.searched(settings, device)?)?;
    Ok((x, oracle))
}

/// What all methods share.
struct Bench<'a> {
    settings: &'a Settings,
    sets: &'a Sets,
    device: Device,
}

impl Bench<'_> {
    fn run(&self, method: &Chosen<Reference>, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let nodes = self.settings.nodes.get();
        let cells = match method {
            Chosen::Baseline(Reference::Random) => return self.random(trial),
            Chosen::Baseline(Reference::Skip) => {
                trial.report.baseline = true;
                trial.report.status = "identities".into();
                (CellGraph::identities(nodes), CellGraph::identities(nodes))
            }
            Chosen::Bilevel(method) => self.search(method, trial)?,
        };
        trial.report.figures.insert("skips".into(), skips(&cells, self.settings) as f64);
        trial.report.test_accuracy = Some(self.accuracy(&cells, trial)?);
        let mut drawn = vec![("normal cell", &cells.0)];
        if self.settings.stages.get() > 1 {
            drawn.push(("reduction cell", &cells.1));
        }
        let name = format!("cell-{}.svg", trial.report.name);
        Ok(trial.folder().write_file(&name, draw::cells(&drawn).as_bytes())?)
    }

    /// The cells that a method finds.
    fn search(&self, method: &Catalogued, trial: &mut Trial<'_>) -> Result<Cells, BenchError> {
        let Settings { common, upper, .. } = self.settings;
        let (module, oracle) = searched(self.settings, self.sets, &self.device)?;
        let counted = Counted::new(&oracle);
        let posed = Posed {
            oracle: &counted,
            module: &module,
            x: oracle.upper_start(),
            y: oracle.lower_start(),
            adam: AdamConfig::new(),
            start: Start::Warm,
            seed: common.seed,
        };
        let mut solver = posed.solver(method, &self.settings.of_methods())?;
        let (steps, name) = (upper.upper_steps.get(), trial.report.name.clone());
        let (every, folder) = (steps.div_ceil(LOOKS), trial.folder().clone());
        let measured = self.settings.angles.map(|count| steps.div_ceil(count.get()));
        let seed = (common.seed, self.device.clone());
        trial.try_drive(&mut *solver, steps, seed, |_, progress| {
            let (step, last) = (progress.step, progress.step == steps);
            let measured = measured.is_some_and(|every| step % every == 0 || last);
            if measured || step % every == 0 || last {
                let point = (progress.solver.x(), progress.solver.y());
                looks::note(&folder, &name, self.look(&oracle, point, step, measured)?)?;
            }
            Ok(StepRecord::default())
        })?;
        Ok(cells(&oracle.upper_module(solver.x())))
    }

    fn look(
        &self,
        oracle: &SearchOracle,
        (x, y): (&Vector, &Vector),
        step: usize,
        measured: bool,
    ) -> Result<Look, BenchError> {
        let architecture = oracle.upper_module(x);
        let angles = match measured {
            false => BTreeMap::new(),
            true => {
                let sample = Sample(step as u64);
                let samples = Samples { upper: sample, lower: sample, index: step as u64 };
                let step_size = self.settings.lower.step_size.get();
                let steps = self.settings.reference_steps.get();
                angles(oracle as &dyn Oracle, (x, y), samples, step_size, steps)?
            }
        };
        Ok(Look {
            step,
            weights: architecture.normal.weights().into_data().iter::<f64>().collect(),
            skips: skips(&cells(&architecture), self.settings),
            angles,
        })
    }

    /// The test accuracy of a network trained with cells, from weights of the same seed and on the same batches
    /// whatever the cells.
    fn accuracy(&self, cells: &Cells, trial: &mut Trial<'_>) -> Result<f64, BenchError> {
        let Settings { retrain_steps, retrain_rate, decay, common, .. } = self.settings;
        self.device.seed(common.seed);
        let config = self.settings.chosen(&self.sets.all, cells.clone());
        let network = ImageClassifierConfig::Cells(config).init(&self.device);
        let steps = retrain_steps.get();
        let rate = Schedule::milestones(retrain_rate.get(), 0.1, [steps * 3 / 4, steps * 9 / 10]);
        let batches = self.sets.trained(self.settings, &self.device)?.take(steps);
        trial.timed(|| {
            let network = train_on(network, batches, rate, decay.get())?;
            Ok(self.sets.test_accuracy(&network, &self.device))
        })
    }

    /// Random cells, each as a row of the series; the median is reported.
    fn random(&self, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let count = self.settings.random.get();
        trial.report.baseline = true;
        trial.report.status = format!("{count} cells");
        let rng = &mut stream(self.settings.common.seed, Purpose::Search);
        let nodes = self.settings.nodes.get();
        let numbers = CellGraph::mixed(nodes).edges.len() * Operation::ALL.len();
        trial.kept(count)?;
        let done = trial.report.series.len();
        for at in 0..count {
            let mut draw = || {
                let weights: Vec<f64> = (0..numbers).map(|_| rng.random()).collect();
                CellGraph::strongest(nodes, &weights)
            };
            let cells = (draw(), draw());
            if at < done {
                continue;
            }
            let accuracy = self.accuracy(&cells, trial)?;
            let (step, seconds) = (at as u64, trial.report.seconds);
            trial.report.series.push(StepRecord {
                step,
                seconds,
                test_accuracy: Some(accuracy),
                ..StepRecord::default()
            });
            if at + 1 < count {
                trial.keep(at + 1, Snapshot::default())?;
            }
        }
        let mut found: Vec<f64> =
            trial.report.series.iter().filter_map(|cell| cell.test_accuracy).collect();
        found.sort_by(f64::total_cmp);
        let middle = |at: usize| found[at.min(found.len() - 1)];
        trial.report.test_accuracy = Some((middle((count - 1) / 2) + middle(count / 2)) / 2.0);
        let figures = &mut trial.report.figures;
        figures.insert("worst %".into(), 100.0 * middle(0));
        figures.insert("best %".into(), 100.0 * middle(count - 1));
        Ok(())
    }

    /// Weights, identities and angles over the steps.
    fn draw(&self, reports: &[MethodReport], run: &Run) -> Result<(), BenchError> {
        let folder = run.folder();
        let mut searches: Vec<(&str, Vec<Look>)> = Vec::new();
        for report in reports.iter().filter(|report| !report.baseline) {
            searches.push((&report.name, looks::all(folder, &report.name)?));
        }
        let curve = |label: String, points: Vec<(f64, f64)>| Curve { label, points, band: vec![] };
        let chart = |title: String, quantity, curves| Chart {
            title,
            axis: Axis::Linear("upper steps"),
            quantity: Axis::Linear(quantity),
            curves,
        };
        for (name, looks) in &searches {
            let edges = CellGraph::mixed(self.settings.nodes.get()).edges;
            let charts = edges.iter().enumerate().map(|(row, edge)| {
                let of = |(column, operation): (usize, Operation)| {
                    let at = row * Operation::ALL.len() + column;
                    let points = looks.iter().map(|look| (look.step as f64, look.weights[at]));
                    curve(operation.name().into(), points.collect())
                };
                let curves = Operation::ALL.into_iter().enumerate().map(of).collect();
                chart(format!("from node {} to {}", edge.from, edge.to), "weight", curves)
            });
            let svg = panels(&charts.collect::<Vec<_>>())?;
            folder.write_file(&format!("weights-{name}.svg"), svg.as_bytes())?;
        }
        let skips = searches.iter().map(|(name, looks)| {
            let points = looks.iter().map(|look| (look.step as f64, look.skips as f64));
            curve((*name).into(), points.collect())
        });
        let skips = chart("identities in the cell".into(), "edges", skips.collect());
        folder.write_file("skips.svg", panels(&[skips])?.as_bytes())?;
        let angles = searches.iter().filter(|_| self.settings.angles.is_some());
        let angles = angles.map(|(name, looks)| {
            let measured = || looks.iter().filter(|look| !look.angles.is_empty());
            let of = |method: &String| {
                let points = measured()
                    .filter_map(|look| Some((look.step as f64, look.angles.get(method).copied()?)));
                curve(method.clone(), points.collect())
            };
            let curves = measured().next().into_iter().flat_map(|look| look.angles.keys()).map(of);
            chart(format!("angles along {name}"), "degrees", curves.collect())
        });
        let angles: Vec<Chart> = angles.collect();
        if !angles.is_empty() {
            folder.write_file("angles.svg", panels(&angles)?.as_bytes())?;
        }
        Ok(())
    }
}

/// The cells that an architecture chooses.
fn cells(architecture: &Architecture) -> Cells {
    let normal = architecture.normal.strongest();
    let reduction = architecture.reduction.as_ref().map(|logits| logits.strongest());
    (normal.clone(), reduction.unwrap_or(normal))
}

/// The number of identities in the cells of a network.
fn skips((normal, reduction): &Cells, settings: &Settings) -> usize {
    normal.skips() + if settings.stages.get() > 1 { reduction.skips() } else { 0 }
}
