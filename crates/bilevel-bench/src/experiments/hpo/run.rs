//! Running the methods and measuring them.

use bilevel_core::catalogue::{At, Made};
use bilevel_core::{
    Bounds, Coefficient, Descent, Fad, HypergradientSolver, JointSolver, LowerProblem, Momentum,
    Objective, Sampler, Samples, Solver, Start, Unrolled,
};
use bilevel_program::Vector;
use burn::tensor::Device;
use serde_json::Value;

use super::budgeted_steps::BudgetedSteps;
use super::data::Data;
use super::mean_over_batches::MeanOverBatches;
use super::search::{Search, Training, grid, random};
use super::started_problem::StartedProblem;
use super::{Method, ProblemName, Settings};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::{Auto, Experiment, Run, Trial};
use crate::hypergrad::write_tensors;
use crate::report::convergence::Axis;
use crate::report::plot::{self, Line, Panel, Stroke};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Offered, refuse};
use bilevel_data::Digest;
use bilevel_data::{Purpose, stream};

/// The experiment and its data.
pub struct Prepared {
    settings: Settings,
    data: Data,
}

impl Experiment for Prepared {
    const NAME: &'static str = "hpo";
    const ABOUT: &'static str =
        "Learn hyperparameters, against grid and random search at equal cost";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/hpo.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        let data = Data::read(&settings)?;
        Ok(Self { settings, data })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        match &self.data {
            Data::Digits(parts) => parts.feed(to),
            Data::Drawn(parts) => parts.feed(to),
            Data::Table(table, ..) => table.feed(to),
            Data::Rows(parts, test) => {
                parts.feed(to);
                test.feed(to);
            }
        }
    }

    fn arrays(&self) -> Vec<Array> {
        // The digits and generated data are small.
        let Data::Rows(parts, test) = &self.data else { return Vec::new() };
        let (features, classes) = (parts.train.rows().features(), parts.train.labels().len());
        let sets = [Some(&parts.train), Some(&parts.validation), test.as_ref()];
        let rows = sets.into_iter().flatten().map(|set| set.rows().rows()).max().unwrap_or(0);
        vec![
            Array::new("the rows of a batch", [self.settings.batch.get().min(rows), features]),
            Array::new("the weights of the classes", [features, classes]),
        ]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let Self { settings, data } = self;
        if settings.problem == ProblemName::Rates {
            // Its steps are learned.
            return Ok(None);
        }
        let StartedProblem { oracle, x, y, .. } = StartedProblem::new(settings, data, &device)?;
        let start = if settings.is_convex() { Start::Warm } else { Start::Fixed };
        let of_run = settings.of_methods(oracle.batches(Objective::Lower));
        let way = (start, settings.common.seed);
        Auto::among::<Method>(&oracle, (&x, &y), way, &of_run).map(Some)
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let Self { settings, data } = self;
        let bench =
            Bench { settings, data, posed: StartedProblem::new(settings, data, &device)?, device };
        let methods = settings.method.iter();
        let reports: Vec<_> = methods
            .map(|method| run.method(&method.name(), |trial| bench.run(method, trial)))
            .collect::<Result<_, _>>()?;
        draw(settings, &reports, run)?;
        Ok(reports)
    }
}

/// The problem on a device, and what all methods share.
struct Bench<'a> {
    settings: &'a Settings,
    data: &'a Data,
    posed: StartedProblem,
    device: Device,
}

impl Bench<'_> {
    /// One method, from the same start as all others.
    fn run(&self, method: &Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let first = self.posed.oracle.cost();
        match method {
            Method::Bilevel(method) => self.learn(method, trial)?,
            Method::Grid | Method::Random => self.search(method, trial)?,
        }
        trial.count(self.posed.oracle.cost() - first);
        Ok(())
    }

    fn training(&self) -> Result<Training<'_>, BenchError> {
        let Settings { lower, common, .. } = self.settings;
        let (steps, step_size) = (lower.lower_steps.get(), lower.step_size.get());
        let seed = common.seed;
        let (oracle, start) = (&self.posed.oracle, &self.posed.y);
        Ok(Training { oracle, start, steps, step_size, descent: self.descent()?, seed })
    }

    /// The steps of y with the rates in x.
    fn descent(&self) -> Result<Option<Descent>, BenchError> {
        if self.settings.problem != ProblemName::Rates {
            return Ok(None);
        }
        let (rate, momentum) = (Coefficient::exp("step_size"), Coefficient::sigmoid("momentum"));
        Ok(Some(Descent::new(
            Momentum::new(rate, momentum)?,
            self.settings.lower.lower_steps.get(),
        )?))
    }

    fn search(&self, method: &Method, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let settings = self.settings;
        let training = self.training()?;
        let count = (settings.calls / training.calls()) as usize;
        if count == 0 {
            let expected = format!("at least {}, those of one training", training.calls());
            let cure = "give more calls, or fewer --lower-steps";
            return Err(refuse("--calls", settings.calls, &expected, cure));
        }
        let (entries, region) = (self.posed.x.layout().size(), (settings.low, settings.high));
        let candidates = match method {
            Method::Grid => grid(entries, count, region),
            _ => random(entries, count, region, &mut stream(settings.common.seed, Purpose::Search)),
        };
        let steps = candidates.len();
        let mut search = Search::new(training, candidates, self.posed.x.clone());
        let mut least = least(&trial.report.series);
        let seed = (settings.common.seed, self.device.clone());
        trial.drive(&mut search, steps, seed, |_, progress| {
            least = least.min(progress.seen.upper_loss);
            StepRecord { upper_loss: Some(least), ..StepRecord::default() }
        })?;
        trial.report.status = format!("{steps} candidates");
        if !least.is_finite() {
            trial.report.ok = false;
            trial.report.status += ", none of which led to finite losses: reduce --step-size";
            return Ok(());
        }
        self.report((search.x(), search.y()), least, trial);
        self.keep_model(search.x(), search.y(), trial)
    }

    fn learn(&self, method: &Catalogued, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let settings = self.settings;
        let training = self.training()?;
        let share =
            settings.calls.saturating_sub(training.calls()) / settings.evaluations.get() as u64;
        let whole = MeanOverBatches(&self.posed.oracle);
        let mut solver =
            BudgetedSteps::new(self.solver(method, &whole)?, &self.posed.oracle, share);
        let judge = MeanOverBatches(self.posed.oracle.uncounted());
        let seed = (settings.common.seed, self.device.clone());
        trial.drive(&mut solver, settings.evaluations.get(), seed, |_, progress| {
            let problem = LowerProblem::new(&judge, progress.solver.x(), Samples::default());
            let loss = problem.value(Objective::Upper, progress.solver.y()).read();
            StepRecord { upper_loss: Some(loss), ..StepRecord::default() }
        })?;
        let before = self.posed.oracle.cost();
        let x = solver.x().clone();
        let y = trial.timed(|| training.model(&x))?;
        let loss = training.validation_loss(&x, &y);
        let spent = (self.posed.oracle.cost() - before).total();
        let report = &mut trial.report;
        if report.ok && report.warnings == 0 {
            report.status =
                format!("{} rounds of {share} calls, and a training", settings.evaluations);
        }
        report.series.push(StepRecord {
            step: report.series.len() as u64,
            retrained: true,
            seconds: report.seconds,
            calls: report.series.last().map_or(0, |record| record.calls) + spent,
            upper_loss: Some(loss),
            ..StepRecord::default()
        });
        self.report((&x, &y), loss, trial);
        self.keep_model(&x, &y, trial)
    }

    /// A bilevel method at the start, on batches if it supports them.
    fn solver<'b>(
        &'b self,
        method: &Catalogued,
        whole: &'b MeanOverBatches<'b>,
    ) -> Result<Box<dyn Solver + 'b>, BenchError> {
        let StartedProblem { oracle, x, y, adam, .. } = &self.posed;
        let settings = self.settings;
        let batches = |objective| oracle.batches(objective);
        let made = match (self.descent()?, method.entry.name) {
            (None, _) => {
                let of_methods = settings.of_methods(batches(Objective::Lower));
                method.make(&of_methods, &At { x, y, seed: settings.common.seed })?.0
            }
            (Some(descent), "rad") => Made::Hypergradient(Box::new(Unrolled::rad(descent))),
            (Some(descent), "fad") => Made::Hypergradient(Box::new(Fad::new(descent))),
            (Some(_), other) => {
                let cure = "the others do not differentiate in how y is trained";
                return Err(refuse("--method", other, "rad or fad for rates", cure));
            }
        };
        let (x, y) = (x.clone(), y.clone());
        let region = Bounds::new(settings.low, settings.high)?;
        Ok(match made {
            Made::Hypergradient(method) => {
                let upper = adam(settings.learning_rate.get())?;
                let start = if settings.is_convex() { Start::Warm } else { Start::Fixed };
                let solver = HypergradientSolver::new(whole, method, upper, x, y);
                Box::new(solver.with_start(start)?.with_projection(region))
            }
            Made::Joint(method) => {
                let (upper, lower) = (batches(Objective::Upper), batches(Objective::Lower));
                let sampler = Sampler::epochs(upper, lower, settings.common.seed)?;
                let solver = JointSolver::new(oracle, method, x, y)?;
                Box::new(solver.with_sampler(sampler).with_projection(region))
            }
        })
    }

    /// The summary of a model y trained with x.
    fn report(&self, (x, y): (&Vector, &Vector), loss: f64, trial: &mut Trial<'_>) {
        let report = &mut trial.report;
        report.upper_loss = Some(loss);
        report.figures.insert("validation loss".into(), loss);
        if let Some(test) = &self.posed.test {
            let whole = MeanOverBatches(test.as_ref());
            let loss =
                LowerProblem::new(&whole, x, Samples::default()).value(Objective::Upper, y).read();
            report.figures.insert("test loss".into(), loss);
        }
    }

    /// The penalties and the model of a table, as safetensors: features become `(value - mean) / scale`.
    fn keep_model(&self, x: &Vector, y: &Vector, trial: &Trial<'_>) -> Result<(), BenchError> {
        let Data::Table(table, scaling, _) = self.data else { return Ok(()) };
        let leaves = y.layout().leaves().iter();
        let mut tensors: Vec<_> =
            leaves.map(|leaf| (leaf.path.clone(), leaf.shape.to_vec())).collect();
        tensors.push(("log_penalty".into(), vec![x.layout().size()]));
        tensors.extend(["mean", "scale"].map(|name| (name.into(), vec![table.features.len()])));
        let values = [y.to_vec(), x.to_vec(), scaling.mean.clone(), scaling.scale.clone()].concat();
        let names = |names: &[String]| Value::from(names.to_vec()).to_string();
        let about = [
            ("features".to_owned(), names(&table.features)),
            ("classes".to_owned(), names(&table.classes)),
        ];
        let path = trial.folder().path().join(format!("model-{}.safetensors", trial.report.name));
        Ok(write_tensors(&path, &tensors, &values, Some(about.into()))?)
    }
}

/// The smallest loss of a series.
fn least(series: &[StepRecord]) -> f64 {
    series.iter().filter_map(|record| record.upper_loss).fold(f64::INFINITY, f64::min)
}

/// The curves over oracle calls and over seconds.
fn draw(settings: &Settings, reports: &[MethodReport], run: &Run) -> Result<(), BenchError> {
    type Place = fn(&StepRecord) -> f64;
    let axes: [(&str, &'static str, Place); 2] = [
        ("calls", "oracle calls", |record| record.calls as f64),
        ("seconds", "seconds", |record| record.seconds),
    ];
    for (name, title, place) in axes {
        let line = |(at, report): (usize, &MethodReport)| {
            let of = |last: bool| {
                let records = report.series.iter().filter(move |record| record.retrained == last);
                records.filter_map(|record| Some((place(record), record.upper_loss?)))
            };
            let (label, stroke) = (report.name.clone(), Stroke::method(at));
            Line { label, stroke, points: of(false).collect(), band: vec![], mark: of(true).next() }
        };
        let panel = Panel {
            title: String::new(),
            axis: Axis::Linear(title),
            quantity: Axis::Logarithmic("validation loss"),
            lines: reports.iter().enumerate().map(line).collect(),
        };
        let title = format!("{}, seed {}", settings.problem.as_str(), settings.common.seed);
        let file = format!("validation-loss-by-{name}.svg");
        run.folder().write_file(&file, plot::svg(&title, &[panel])?.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bilevel_core::Snapshot;

    use super::*;
    use crate::experiments::Registered;
    use crate::settings::checked;

    fn bench(problem: &str, run: impl Fn(&Bench<'_>)) {
        let given = format!(
            "problem = \"{problem}\"\ncalls = 800\nlower-steps = 20\nevaluations = 4\ndevice = \"flex\""
        );
        let hpo = Registered::named("hpo").unwrap();
        let complete = hpo.complete(&given.parse().unwrap()).unwrap();
        let settings: Settings = checked(complete.settings()).unwrap();
        let data = Data::read(&settings).unwrap();
        let posed = StartedProblem::new(&settings, &data, &Device::flex()).unwrap();
        run(&Bench { settings: &settings, data: &data, posed, device: Device::flex() });
    }

    fn assert_resumes<'a>(make: impl Fn() -> Box<dyn Solver + 'a>) {
        // One after the other: they share the counter of one oracle.
        let run = |saved: Option<Snapshot>, from, to| {
            let mut solver = make();
            if let Some(saved) = saved {
                solver.restore(saved).unwrap();
            }
            for k in from..to {
                solver.step(k).unwrap();
            }
            solver.save()
        };
        let half = run(None, 0, 2);
        assert_eq!(run(Some(half), 2, 4), run(None, 0, 4));
    }

    #[test]
    fn rounds_and_searches_resume() {
        bench("ridge", |bench| {
            let whole = MeanOverBatches(&bench.posed.oracle);
            for name in ["cg", "soba"] {
                let method = Catalogued::find(name).unwrap();
                assert_resumes(|| {
                    Box::new(BudgetedSteps::new(
                        bench.solver(&method, &whole).unwrap(),
                        &bench.posed.oracle,
                        150,
                    ))
                });
            }
            let rng = || stream(3, Purpose::Search);
            assert_resumes(|| {
                let candidates = random(20, 4, (-8.0, 2.0), &mut rng());
                let training = bench.training().unwrap();
                Box::new(Search::new(training, candidates, bench.posed.x.clone()))
            });
        });
    }

    #[test]
    fn the_whole_is_the_mean_of_its_batches() {
        use bilevel_core::{Direction, Oracle, Point, Sample, Wrt};
        let problem = crate::compare::ProblemName::Quadratic;
        let setup = problem.setup(0, None, &Device::flex()).unwrap();
        let (whole, expected) = (MeanOverBatches(setup.batches.as_ref()), setup.whole.as_ref());
        let (x, y) = (&setup.x, &setup.y);
        let at = Point { x, y, sample: Sample(0) };
        let near = |found: &[f64], expected: &[f64]| {
            let off = found.iter().zip(expected).map(|(f, e)| (f - e).abs() / (1.0 + e.abs()));
            let off = off.fold(0.0, f64::max);
            assert!(off < 1e-4, "off by {off}");
        };
        for objective in [Objective::Upper, Objective::Lower] {
            let all = |oracle: &dyn Oracle| {
                let (loss, sides) = oracle.gradient(objective, at, Wrt::Both);
                let along = oracle.product(objective, at, Direction::in_y(y), Wrt::Both);
                let value = oracle.value(objective, at).read();
                assert!((loss.read() - value).abs() < 1e-5 * (1.0 + value.abs()));
                let sides = [sides.into_both(), along.into_both()];
                let lists = sides.iter().flat_map(|(x, y)| [x.to_vec(), y.to_vec()].concat());
                lists.collect::<Vec<_>>()
            };
            near(&all(&whole), &all(expected));
        }
    }
}
