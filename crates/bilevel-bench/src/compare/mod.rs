//! `bilevel compare`: compares methods on one problem, by oracle calls and by seconds.
//!
//! Every method runs with several seeds until its calls are spent. At fixed numbers of calls, a [`Judge`], whose own
//! calls and time do not count, measures the squared norm of the hypergradient and the value `F(x, y*(x))` at the last
//! x reached with these calls; on a small problem with a known answer, the distance of F and f from it and the
//! violation of the constraints. One call is one gradient, product or value on one batch: a method that uses the whole
//! data at once pays for all of its batches.
//!
//! A method that ignores constraints of the problem is refused before anything runs, unless they enter its losses as
//! barriers.

mod measure;
mod problem;

pub use measure::{Judge, Measured};
pub use problem::{ProblemName, Setup};

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bilevel_core::catalogue::{self, Entry, Family, Made, Needs};
use bilevel_core::{
    Cost, Error, Executor, GradientStep, HypergradientSolver, JointSolver, Oracle, Progress,
    Sampler, Solver, Start,
};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::backend::flex_in_f64;
use crate::error::BenchError;
use crate::experiments::{Auto, Left, Origin, Partly};
use crate::progress::{Bar, note};
use crate::report::ReportError;
use crate::report::comparison;
use crate::report::folder::RunFolder;
use crate::settings::{Catalogued, Methods, Offered, Positive, refuse};
use bilevel_data::{Classified, digest};

/// The key of `settings.toml` that marks a folder as a comparison.
pub(crate) const KEY: &str = "compare";

/// What is compared, and how long: `settings.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The problem.
    #[serde(rename = "compare")]
    pub problem: ProblemName,
    /// The methods.
    #[serde(rename = "method")]
    pub methods: Methods<Contender>,
    /// The number of seeds.
    #[serde(deserialize_with = "crate::settings::seeds")]
    pub seeds: u64,
    /// The calls of one batch allowed to a run.
    #[serde(deserialize_with = "crate::settings::calls")]
    pub calls: u64,
    /// The weight of the barriers for constraints that a method ignores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barrier: Option<Positive>,
    /// The folder with the problem's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
}

/// A method of the catalogue that requires only two losses of a problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Contender(Catalogued);

impl Contender {
    /// Its kind.
    pub fn family(&self) -> Family {
        self.0.entry.family
    }

    /// Its entry in the catalogue.
    pub fn entry(&self) -> &'static Entry {
        self.0.entry
    }
}

impl Offered for Contender {
    fn all() -> Vec<Self> {
        // `nsgame` moves x through a part of y only, `virtual-step` through one step, `pbda` needs the worst of many
        // solutions, and `on-batches` is any other method.
        let unfit = ["nsgame", "virtual-step", "pbda", "on-batches"];
        let fits = |entry: &&catalogue::Entry| {
            entry.needs == Needs::Nothing && !unfit.contains(&entry.name)
        };
        catalogue::all().filter(fits).map(|entry| Self(Catalogued::new(entry))).collect()
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn is_called(&self, name: &str) -> bool {
        self.0.entry.is_called(name)
    }

    fn summary(&self) -> String {
        self.0.entry.summary.into()
    }

    fn with(self, settings: toml::Table) -> Result<Self, String> {
        self.0.with(settings).map(Self)
    }
}

/// One method, with all seeds.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Its name, and its own settings in parentheses.
    pub name: String,
    /// Its kind.
    pub family: Family,
    /// One per seed.
    pub runs: Vec<SeedRun>,
}

/// One run.
#[derive(Debug, Clone, Default)]
pub struct SeedRun {
    /// One for each number of calls on the [`grid`], as far as the run came.
    pub marks: Vec<Mark>,
    /// Why it ended before its calls were spent.
    pub fault: Option<String>,
}

/// The measurements after a number of calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// Seconds of the method itself since the run began.
    pub seconds: f64,
    /// The measurements.
    pub measured: Measured,
}

/// Marks of one run.
const MARKS: usize = 33;
/// The first of them.
const FIRST_CALLS: f64 = 32.0;

/// The numbers of calls at which measurements are made, 0 first, the others evenly spread on a logarithmic scale.
pub fn grid(calls: u64) -> Vec<f64> {
    let span = (calls as f64 / FIRST_CALLS).max(1.0);
    let mark = |i: usize| FIRST_CALLS * span.powf(i as f64 / (MARKS - 2) as f64);
    std::iter::once(0.0).chain((0..MARKS - 1).map(mark)).collect()
}

/// Compares in a new folder under `root`, in f64 on flex; returns the table for the terminal. Results are written after
/// each run of a method with a seed, and [`resume`] completes an interrupted comparison.
///
/// # Errors
/// See [`compare`]. Errors in data or settings are found before the folder is created.
pub fn start(settings: &Settings, root: &Path) -> Result<(String, RunFolder), BenchError> {
    let device = flex_in_f64()?;
    let rows = settings.problem.read(settings.data_dir.as_deref())?;
    let (settings, probes) = &chosen(settings, rows.as_ref(), &device)?;
    check(settings, rows.as_ref(), &device)?;
    let name = format!("compare-{}", settings.problem.as_str());
    let origin = Origin { probes: *probes, ..Origin::here(fingerprint(rows.as_ref())) };
    let partly = Partly::create(settings.clone(), &origin, root, &name)?;
    let folder = (*partly.folder).clone();
    Ok((complete(&partly, rows.as_ref(), &device)?, folder))
}

/// The settings with a method in place of `auto`: that of the first seed, for all of them; and the oracle calls of the
/// probes.
fn chosen(
    settings: &Settings,
    rows: Option<&Classified>,
    device: &Device,
) -> Result<(Settings, Option<u64>), BenchError> {
    if !settings.methods.is_open() {
        return Ok((settings.clone(), None));
    }
    let setup = settings.problem.setup(0, rows, device)?;
    let of_run = settings.problem.of_methods(Family::Stochastic);
    let (at, way) = ((&setup.x, &setup.y), (Start::Warm, 0));
    let auto = Auto::among::<Contender>(setup.batches.as_ref(), at, way, &of_run)?;
    note(format!(
        "{auto}\nrun       {}, for each seed\n",
        auto.suggestion.forecast(settings.calls)
    ));
    let chosen = settings.methods.clone().with_chosen(&auto.method);
    let methods = chosen.map_err(|error| refuse("--method", "auto", &error, "name a method"))?;
    Ok((Settings { methods, ..settings.clone() }, Some(auto.probes())))
}

/// The methods that handle the constraints of a problem, or all if these are barriers.
///
/// # Errors
/// If this process has computed in f32 on flex.
pub fn fitting(
    problem: ProblemName,
    barrier: Option<Positive>,
) -> Result<Methods<Contender>, BenchError> {
    let mut names = Contender::all();
    if let (ProblemName::Known(_), None) = (problem, barrier) {
        let setup = problem.setup(0, None, &flex_in_f64()?)?;
        names.retain(|method| method.entry().ignored(&setup.whole).is_empty());
    }
    let names: Vec<_> = names.iter().map(Contender::name).collect();
    let names = names.join(",");
    names.parse().map_err(|error: String| refuse("--method", &names, &error, "name a method"))
}

/// Refuses methods that ignore constraints of the problem, unless these are barriers.
fn check(
    settings: &Settings,
    rows: Option<&Classified>,
    device: &Device,
) -> Result<(), BenchError> {
    let (problem, barrier) = (settings.problem, settings.barrier);
    if barrier.is_some() {
        return Ok(());
    }
    let setup = problem.setup(0, rows, device)?;
    let ignored = settings.methods.iter().find_map(|method| {
        let ignored = method.entry().ignored(&setup.whole);
        let ignored = ignored.iter().map(|(level, count)| format!("{count} of the {level} level"));
        let ignored = ignored.collect::<Vec<_>>().join(" and ");
        (!ignored.is_empty()).then(|| (method.name(), ignored))
    });
    let Some((method, ignored)) = ignored else { return Ok(()) };
    let (name, fit) = (problem.as_str(), fitting(problem, barrier)?);
    Err(refuse(
        "--method",
        format!("{method}, which ignores constraints of {name}, {ignored}"),
        "methods that keep to them",
        format!(
            "name some of {fit}; or give --barrier 0.01, which adds barriers to the losses of the others; `bilevel \
             solve {name}` needs no method"
        ),
    ))
}

/// Completes the comparison of a folder: all numbers except seconds are those of an uninterrupted one. A complete one
/// is read. Other data than before may be `accepted`.
///
/// # Errors
/// See [`compare`]; if the folder cannot be used.
pub fn resume(folder: &RunFolder, accepted: bool) -> Result<String, BenchError> {
    let read = |settings: &Settings| settings.problem.read(settings.data_dir.as_deref());
    let data = |settings: &Settings| Ok::<_, BenchError>(fingerprint(read(settings)?.as_ref()));
    let left = Partly::resume(folder, data, accepted)?;
    match left {
        Left::Nothing(table) => Ok(table),
        Left::Rest(partly) => complete(&partly, read(&partly.settings)?.as_ref(), &flex_in_f64()?),
    }
}

/// Writes the figures and the page of a complete comparison again.
///
/// # Errors
/// If it is not complete, or cannot be read or written.
pub fn report(folder: &RunFolder) -> Result<(), BenchError> {
    let partly = Partly::done(folder)?;
    let compared = comparison::read(&partly)?;
    comparison::write_figures(&partly.settings, &compared, &partly.folder)?;
    Ok(comparison::write_page(&partly, &compared)?)
}

/// The fingerprint of the data.
fn fingerprint(rows: Option<&Classified>) -> String {
    rows.map_or("none".into(), |rows| digest(rows))
}

fn complete(
    partly: &Partly<Settings>,
    rows: Option<&Classified>,
    device: &Device,
) -> Result<String, BenchError> {
    let settings = &partly.settings;
    let done = comparison::read(partly)?;
    let keep = |compared: &[Compared]| comparison::write_runs(partly, compared);
    let compared = compare(settings, rows, device, true, done, keep)?;
    comparison::write_figures(settings, &compared, &partly.folder)?;
    comparison::write_page(partly, &compared)?;
    Ok(partly.end(comparison::table(settings.problem, &compared))?)
}

/// Runs the settings on `device`; shows progress on standard error if `visible`.
///
/// `done` holds the results of an earlier process; `keep` receives all results after each run.
///
/// # Errors
/// A method that does not fit the problem, or missing rows of the problem. A method that diverges is not an error: its
/// curve ends there.
pub fn compare(
    settings: &Settings,
    rows: Option<&Classified>,
    device: &Device,
    visible: bool,
    done: Vec<Compared>,
    keep: impl Fn(&[Compared]) -> Result<(), ReportError>,
) -> Result<Vec<Compared>, BenchError> {
    let runs = settings.methods.len() * settings.seeds as usize;
    let bar = if visible { Bar::new("runs", runs) } else { Bar::hidden() };
    let mut compared: Vec<Compared> = settings
        .methods
        .iter()
        .map(|contender| {
            let name = contender.name();
            let runs = done.iter().find(|done| done.name == name);
            let runs = runs.map_or(Vec::new(), |done| done.runs.clone());
            Compared { name, family: contender.family(), runs }
        })
        .collect();
    let is_done = |compared: &Compared, seed: u64| compared.runs.len() as u64 > seed;
    bar.set_position(compared.iter().map(|compared| compared.runs.len() as u64).sum());
    for seed in 0..settings.seeds {
        if compared.iter().all(|compared| is_done(compared, seed)) {
            continue;
        }
        let setup = settings.problem.setup(seed, rows, device)?;
        for (at, contender) in settings.methods.iter().enumerate() {
            if is_done(&compared[at], seed) {
                continue;
            }
            bar.set_message(contender.name());
            compared[at].runs.push(run(settings, &setup, contender, seed)?);
            keep(&compared)?;
            bar.inc(1);
        }
    }
    bar.clear();
    Ok(compared)
}

/// A contender on a problem, at its start, with an oracle for it.
///
/// # Errors
/// If it does not fit the problem.
pub fn solver<'a>(
    contender: &Contender,
    problem: ProblemName,
    (setup, oracle): (&Setup, &'a dyn Oracle),
    seed: u64,
) -> Result<Box<dyn Solver + 'a>, BenchError> {
    let (x, y) = (setup.x.clone(), setup.y.clone());
    let of_methods = problem.of_methods(contender.family());
    let (made, of_methods) = contender.0.make(&of_methods, &setup.at(seed))?;
    match made {
        Made::Hypergradient(method) => {
            let step = GradientStep::new(of_methods.learning_rate)?;
            let start = match method.differentiates_start() {
                true => Start::Learned { step_size: of_methods.step_size },
                false => Start::Warm,
            };
            let solver = HypergradientSolver::new(oracle, method, step, x, y);
            Ok(Box::new(solver.with_start(start)?))
        }
        Made::Joint(method) => {
            let [upper, lower] = setup.counts;
            let sampler = match contender.family().on_batches() {
                true => Sampler::with_replacement(upper, lower, seed)?,
                false => Sampler::full(),
            };
            Ok(Box::new(JointSolver::new(oracle, method, x, y)?.with_sampler(sampler)))
        }
    }
}

/// One run of one method.
fn run(
    settings: &Settings,
    setup: &Setup,
    contender: &Contender,
    seed: u64,
) -> Result<SeedRun, BenchError> {
    let [upper, lower] = setup.counts;
    let on_batches = contender.family().on_batches();
    let oracle = setup.oracle(contender, settings.barrier.map(Positive::get))?;
    let mut solver = solver(contender, settings.problem, (setup, &oracle), seed)?;
    // Those of constraints are of one batch each.
    let calls = |cost: Cost| match on_batches {
        true => cost.total() as f64,
        false => {
            let of_upper = cost.upper_values + cost.upper_gradients + cost.upper_products;
            let of_lower = cost.lower_values + cost.lower_gradients + cost.lower_products;
            let rest = cost.total() - of_upper - of_lower;
            of_upper as f64 * upper as f64 + of_lower as f64 * lower as f64 + rest as f64
        }
    };
    let grid = grid(settings.calls);
    let mut judge = Judge::new(setup.whole.as_ref(), setup.y.clone(), setup.best)?;
    let mut marks = vec![Mark { seconds: 0.0, measured: judge.measure(&setup.x, &setup.y)? }];
    let mut failed: Option<Error> = None;
    // A mark shows the last x that was reached by its number of calls, not a later one.
    let mut before = (setup.x.clone(), setup.y.clone(), 0.0);
    let observer = |progress: &Progress<'_>| {
        let made = calls(progress.cost);
        let due = grid.iter().filter(|mark| **mark < made).count();
        let (x, y, seconds) = &before;
        if due > marks.len() {
            match judge.measure(x, y) {
                Ok(measured) => marks.resize(due, Mark { seconds: *seconds, measured }),
                Err(error) => failed = Some(error),
            }
        }
        let (x, y) = (progress.solver.x().clone(), progress.solver.y().clone());
        before = (x, y, progress.elapsed.as_secs_f64());
        if failed.is_some() || due == grid.len() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let ended = Executor::new(usize::MAX)?.observe(observer).run(solver.as_mut());
    let fault = ended.err().or(failed).map(|error| error.to_string());
    Ok(SeedRun { marks, fault })
}
