//! Running the methods, evaluating them, and the figure.

use bilevel_core::{
    AutodiffOracle, BurnOptimizer, Cg, Descent, Diagonal, Error, Fomaml, Gd, HypergradientMethod,
    HypergradientSolver, Imaml, Implicit, Kronecker, LowerProblem, Maml, Objective, Oracle,
    Preconditioned, Reptile, Sample, Samples, Solver, Tasks,
};
use bilevel_models::{Mlp, MlpConfig};
use bilevel_program::{Layout, Vector};
use burn::module::Param;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Tensor};

use super::problem::{Meta, Regression, Sinusoids};
use super::{Method, Settings};
use crate::backend::Array;
use crate::error::BenchError;
use crate::experiments::{Experiment, Run, Trial};
use crate::report::convergence::{Axis, Chart, Curve, panels};
use crate::report::{MethodReport, StepRecord};
use crate::settings::Offered;

/// The tasks of the figure.
const DRAWN: u64 = 2;

/// The experiment; its tasks are drawn by the seed.
pub struct Prepared {
    settings: Settings,
}

type RegressionOracle = AutodiffOracle<Regression, Sinusoids>;

impl Experiment for Prepared {
    const NAME: &'static str = "sinusoid";
    const ABOUT: &'static str =
        "Regression of sinusoids from ten points, by methods that learn where a network starts";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/sinusoid.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        Ok(Self { settings })
    }

    fn feed(&self, to: &mut blake3::Hasher) {
        to.update(&self.settings.common.seed.to_le_bytes());
    }

    fn arrays(&self) -> Vec<Array> {
        let Settings { shot, width, .. } = &self.settings;
        vec![Array::new("the hidden layer of a task", [shot.get(), width.get()])]
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let methods = self.settings.method.iter();
        methods
            .map(|&method| run.method(&method.name(), |trial| self.method(method, &device, trial)))
            .collect()
    }
}

impl Prepared {
    fn method(
        &self,
        method: Method,
        device: &Device,
        trial: &mut Trial<'_>,
    ) -> Result<(), BenchError> {
        let settings = &self.settings;
        let tasks = Sinusoids {
            seed: settings.common.seed,
            shot: settings.shot.get(),
            device: device.clone(),
        };
        let (x, y) = starts(method, settings, device);
        let oracle = AutodiffOracle::new(Regression, &x, &y, tasks)?;
        let upper =
            BurnOptimizer::new(AdamConfig::new().build(), &x, settings.upper.learning_rate.get())?;
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let on_tasks = Tasks::new(settings.meta_batch.get(), || made(method, settings))?;
        let mut solver = HypergradientSolver::new(&oracle, on_tasks, upper, x, y);
        let steps = settings.upper.upper_steps.get();
        let seed = (settings.common.seed, device.clone());
        trial.drive(&mut solver, steps, seed, |_, _| StepRecord::default())?;
        let judge = |after| judged(&oracle, method, settings, solver.x(), after);
        let figures = &mut trial.report.figures;
        figures.insert("error before".into(), judge(0)?);
        figures.insert("error after 1 step".into(), judge(1)?);
        let last = settings.test_steps.get();
        figures.insert(format!("error after {last} steps"), judge(last)?);
        figures.insert("s/iteration".into(), trial.report.seconds / steps as f64);
        let charts: Result<Vec<_>, _> =
            (0..DRAWN).map(|task| chart(&oracle, method, settings, solver.x(), task)).collect();
        let name = match settings.method.len() {
            1 => "fitted.svg".to_owned(),
            _ => format!("fitted-{}.svg", method.name()),
        };
        Ok(trial.folder().write_file(&name, panels(&charts?)?.as_bytes())?)
    }
}

/// x and y as modules; the network has the same initial weights for every method.
fn starts(method: Method, settings: &Settings, device: &Device) -> (Meta, Mlp) {
    device.seed(settings.common.seed);
    let width = settings.width.get();
    let config = MlpConfig::new(vec![1, width, width, 1]);
    let initial = config.init(device);
    let layout = Layout::of(&initial);
    let rates = (method == Method::MetaSgd).then(|| {
        let rates = config.init(device);
        let constant = vec![settings.lower.step_size.get(); layout.size()];
        Vector::from_slice(&Layout::of(&rates), &constant, device).write_into(rates)
    });
    let factors = Kronecker::factors_of(&layout).into_iter();
    let factors = factors.filter(|_| method == Method::MetaCurvature);
    let factors = factors.map(|n| Param::from_tensor(Tensor::eye(n, device))).collect();
    (Meta { initial: initial.clone(), rates: rates.into_iter().collect(), factors }, initial)
}

/// The lower steps of a method.
fn descent(method: Method, settings: &Settings, steps: usize) -> Result<Descent, Error> {
    let gd = || Gd::new(settings.lower.step_size.get());
    match method {
        Method::MetaSgd => {
            Descent::new(Preconditioned::new(Gd::new(1.0)?, Diagonal::new("rates")), steps)
        }
        Method::MetaCurvature => {
            Descent::new(Preconditioned::new(gd()?, Kronecker::new("factors")), steps)
        }
        _ => Descent::new(gd()?, steps),
    }
}

fn made(method: Method, settings: &Settings) -> Result<Box<dyn HypergradientMethod>, Error> {
    let steps = settings.lower.lower_steps.get();
    let descent = descent(method, settings, steps)?;
    Ok(match method {
        Method::Fomaml => Box::new(Fomaml::new(descent).with_part("initial")),
        Method::Reptile => {
            let way = settings.lower.step_size.get() * steps as f64;
            Box::new(Reptile::new(descent, way)?.with_part("initial"))
        }
        Method::Imaml => {
            let cg = Cg::new(settings.solver_iterations.get(), 1e-3)?;
            Box::new(Imaml::new(Implicit::new(descent, cg), settings.proximity.get())?)
        }
        Method::Maml | Method::MetaSgd | Method::MetaCurvature => {
            Box::new(Maml::new(descent).with_part("initial"))
        }
    })
}

/// y after this many lower steps from x on a task.
fn adapted(
    oracle: &RegressionOracle,
    method: Method,
    settings: &Settings,
    x: &Vector,
    (task, steps): (u64, usize),
) -> Result<Vector, Error> {
    let start = x.part(&x.layout().under("initial"), oracle.lower_layout());
    if steps == 0 {
        return Ok(start);
    }
    let samples = Samples { upper: Sample(task), lower: Sample(task), index: 0 };
    let problem = LowerProblem::new(oracle, x, samples);
    Ok(descent(method, settings, steps)?.run(&problem, &start)?.state.y)
}

/// The mean squared error on the query points, over the test tasks.
fn judged(
    oracle: &RegressionOracle,
    method: Method,
    settings: &Settings,
    x: &Vector,
    steps: usize,
) -> Result<f64, Error> {
    let n = settings.test_tasks.get();
    let mut sum = 0.0;
    for task in (0..n as u64).map(|task| Sinusoids::TEST + task) {
        let y = adapted(oracle, method, settings, x, (task, steps))?;
        let samples = Samples { upper: Sample(task), lower: Sample(task), index: 0 };
        sum += LowerProblem::new(oracle, x, samples).value(Objective::Upper, &y).read();
    }
    Ok(sum / n as f64)
}

/// A test task, and the network's predictions before, after one step and at the end.
fn chart(
    oracle: &RegressionOracle,
    method: Method,
    settings: &Settings,
    x: &Vector,
    task: u64,
) -> Result<Chart, Error> {
    let (tasks, task) = (oracle.data(), Sinusoids::TEST + task);
    let wave = tasks.wave(task);
    let at: Vec<f64> = (0..=100).map(|i| f64::from(i) / 10.0 - 5.0).collect();
    let curve = |label: &str, values: Vec<f64>| Curve {
        label: label.into(),
        points: at.iter().copied().zip(values).collect(),
        band: Vec::new(),
    };
    let mut curves = vec![curve("task", at.iter().map(|t| wave.at(*t)).collect())];
    let last = settings.test_steps.get();
    for (label, steps) in
        [("before".into(), 0), ("1 step".to_owned(), 1), (format!("{last} steps"), last)]
    {
        let y = adapted(oracle, method, settings, x, (task, steps))?;
        let fitted = oracle.lower_module(&y).forward(tasks.points(wave, &at).inputs);
        curves.push(curve(&label, fitted.into_data().iter::<f64>().collect()));
    }
    Ok(Chart {
        title: format!("{}, fitted to {} points", method.name(), settings.shot),
        axis: Axis::Linear("t"),
        quantity: Axis::Linear("value"),
        curves,
    })
}
