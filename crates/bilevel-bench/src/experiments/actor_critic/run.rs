//! Training policies, and evaluating them by environment steps.

use bilevel_core::{AutodiffOracle, Counted, Oracle, Sample, Solver, Start};
use bilevel_data::{Purpose, stream};
use bilevel_models::{SoftmaxRegression, SoftmaxRegressionConfig};
use bilevel_program::{Tolerances, Vector};
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::Device;

use super::cart_pole::LONGEST;
use super::episodes::{Balancing, collect, mean_return, monomials};
use super::linear_quadratic::Source;
use super::on_policy::OnPolicy;
use super::{Gain, Moves, QuadraticCritic, Reference, Regulator, Settings, System, Task};
use crate::backend::{Array, flex_in_f64};
use crate::error::BenchError;
use crate::experiments::derivatives::derivatives;
use crate::experiments::posed::Posed;
use crate::experiments::remembered::Remembered;
use crate::experiments::{Auto, Checked, Experiment, Run, Trial};
use crate::report::convergence::{Axis, Chart, Curve, svg};
use crate::report::{MethodReport, StepRecord};
use crate::settings::{Catalogued, Chosen, Offered};

/// The excess up to which a policy counts as good: of the mean cost, and in steps of an episode.
const GOOD: [f64; 2] = [0.01, 50.0];

/// The experiment.
pub struct Prepared {
    settings: Settings,
}

impl Experiment for Prepared {
    const NAME: &'static str = "actor-critic";
    const ABOUT: &'static str =
        "Learn a policy under its critic: a linear quadratic regulator, or a pole on a cart";
    const DEFAULTS: &'static str = include_str!("../../../assets/presets/actor-critic.toml");
    type Settings = Settings;

    fn read(settings: Settings) -> Result<Self, BenchError> {
        Ok(Self { settings })
    }

    /// There is no data: transitions are generated.
    fn feed(&self, _: &mut blake3::Hasher) {}

    fn arrays(&self) -> Vec<Array> {
        let features = monomials([0.0; 4]).len();
        vec![Array::new("the transitions of a step", [self.settings.transitions(), features])]
    }

    fn auto(&self, device: Device) -> Result<Option<Auto>, BenchError> {
        let Self { settings } = self;
        let (way, of_run) = ((Start::Warm, settings.common.seed), settings.of_methods());
        let among = |oracle: &dyn Oracle, (x, y): (Vector, Vector)| {
            Auto::among::<Chosen<Reference>>(oracle, (&x, &y), way, &of_run).map(Some)
        };
        match settings.task {
            Task::Lqr => {
                let (_, oracle) = regulator(settings, &device)?;
                among(&oracle, (oracle.upper_start(), oracle.lower_start()))
            }
            Task::CartPole => {
                let (_, oracle) = cart_pole(settings, &device)?;
                among(&oracle, oracle.start())
            }
        }
    }

    fn check(&self) -> Result<Option<Checked>, BenchError> {
        let device = flex_in_f64()?;
        let (seed, n) = (self.settings.common.seed, self.settings.transitions());
        let tolerances = &Tolerances::F64;
        let checked = match self.settings.task {
            Task::Lqr => {
                let system = System::masses();
                let both = (Gain::none(&device), QuadraticCritic::zero(&device));
                let batch = |_, device: &_| Moves::draw(&system, n, seed, Sample(0), device);
                derivatives(&Regulator(system.clone()), both, batch, seed, tolerances)
            }
            Task::CartPole => {
                let both = networks(&device);
                let batch = |_, device: &Device| {
                    collect(&networks(device).0, (1, n), &mut stream(seed, Purpose::Draws), device)
                };
                derivatives(&Balancing, both, batch, seed, tolerances)
            }
        };
        Ok(Some(checked?))
    }

    fn run(&self, device: Device, run: &mut Run) -> Result<Vec<MethodReport>, BenchError> {
        let bench = Bench { settings: &self.settings, device };
        let methods = self.settings.method.iter();
        let reports = methods
            .map(|method| run.method(&method.name(), |trial| bench.run(method, trial)))
            .collect::<Result<Vec<_>, _>>()?;
        bench.draw(&reports, run)?;
        Ok(reports)
    }
}

/// State shared by all methods.
struct Bench<'a> {
    settings: &'a Settings,
    device: Device,
}

impl Bench<'_> {
    fn run(&self, method: &Chosen<Reference>, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        match (method, self.settings.task) {
            (Chosen::Baseline(reference), _) => {
                trial.report.baseline = true;
                trial.report.status = "nothing was learned".into();
                self.report(self.excess_of(*reference), trial);
                Ok(())
            }
            (Chosen::Bilevel(method), Task::Lqr) => self.regulate(method, trial),
            (Chosen::Bilevel(method), Task::CartPole) => self.balance(method, trial),
        }
    }

    /// The excess of a baseline.
    fn excess_of(&self, reference: Reference) -> f64 {
        match (reference, self.settings.task) {
            (Reference::Optimal, _) => 0.0,
            (Reference::Start, Task::Lqr) => {
                let system = System::masses();
                excess(&system, least(&system), &Gain::none(&self.device))
            }
            (Reference::Start, Task::CartPole) => self.shortfall(None),
        }
    }

    fn regulate(&self, method: &Catalogued, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let system = System::masses();
        let least = least(&system);
        let (gain, oracle) = regulator(self.settings, &self.device)?;
        let start = (oracle.upper_start(), oracle.lower_start());
        self.learn(method, &oracle, &gain, start, trial, |x| {
            excess(&system, least, &oracle.upper_module(x))
        })
    }

    fn balance(&self, method: &Catalogued, trial: &mut Trial<'_>) -> Result<(), BenchError> {
        let (policy, oracle) = cart_pole(self.settings, &self.device)?;
        self.learn(method, &oracle, &policy, oracle.start(), trial, |x| {
            self.shortfall(Some(&oracle.policy(x)))
        })
    }

    /// A policy trained by a method; `excess` is its excess after a step.
    fn learn<X: Module + 'static>(
        &self,
        method: &Catalogued,
        oracle: &dyn Oracle,
        module: &X,
        (x, y): (Vector, Vector),
        trial: &mut Trial<'_>,
        excess: impl Fn(&Vector) -> f64,
    ) -> Result<(), BenchError> {
        let Settings { common, upper, .. } = self.settings;
        let counted = Counted::new(oracle);
        let posed = Posed {
            oracle: &counted,
            module,
            x,
            y,
            adam: AdamConfig::new(),
            start: Start::Warm,
            seed: common.seed,
        };
        let mut solver: Box<dyn Solver + '_> = posed.solver(method, &self.settings.of_methods())?;
        let seed = (common.seed, self.device.clone());
        trial.drive(&mut *solver, upper.upper_steps.get(), seed, |_, progress| StepRecord {
            upper_loss: Some(excess(progress.solver.x())),
            ..StepRecord::default()
        })?;
        self.report(excess(solver.x()), trial);
        Ok(())
    }

    /// The mean number of steps by which episodes of a policy fall short of the maximum.
    fn shortfall(&self, policy: Option<&SoftmaxRegression>) -> f64 {
        let rng = &mut stream(self.settings.common.seed, Purpose::Search);
        let episodes = self.settings.episodes.get();
        LONGEST as f64 - mean_return(policy, episodes, rng, &self.device)
    }

    fn report(&self, excess: f64, trial: &mut Trial<'_>) {
        let report = &mut trial.report;
        let (name, figure, good) = match self.settings.task {
            Task::Lqr => ("over the optimum %", 100.0 * excess, GOOD[0]),
            Task::CartPole => ("mean return", LONGEST as f64 - excess, GOOD[1]),
        };
        report.figures.insert(name.into(), figure);
        let each = self.settings.transitions() as f64;
        let first = report.series.iter().find(|step| step.upper_loss.is_some_and(|e| e <= good));
        if let Some(step) = first {
            let steps = (step.step + 1) as f64 * each;
            report.figures.insert("environment steps until good".into(), steps);
        }
        report.upper_loss = Some(excess);
    }

    /// The excess over environment steps.
    fn draw(&self, reports: &[MethodReport], run: &Run) -> Result<(), BenchError> {
        let each = self.settings.transitions() as f64;
        let curves = reports.iter().filter(|report| !report.series.is_empty());
        let (title, quantity) = match self.settings.task {
            Task::Lqr => {
                ("linear quadratic regulator", Axis::Logarithmic("cost over the optimum, relative"))
            }
            Task::CartPole => ("pole on a cart", Axis::Linear("steps short of 500")),
        };
        let chart = Chart {
            title: title.into(),
            axis: Axis::Linear("environment steps"),
            quantity,
            curves: curves
                .map(|report| Curve {
                    label: report.name.clone(),
                    points: report
                        .series
                        .iter()
                        .filter_map(|step| Some(((step.step + 1) as f64 * each, step.upper_loss?)))
                        .collect(),
                    band: Vec::new(),
                })
                .collect(),
        };
        Ok(run.folder().write_file("excess.svg", svg(&chart)?.as_bytes())?)
    }
}

type RegulatorOracle = AutodiffOracle<Regulator, Remembered<Source, Moves>>;

/// The gain at the start, and the problem of the regulator.
fn regulator(settings: &Settings, device: &Device) -> Result<(Gain, RegulatorOracle), BenchError> {
    let system = System::masses();
    let (gain, critic) = (Gain::none(device), QuadraticCritic::zero(device));
    let data = Source {
        system: system.clone(),
        n: settings.transitions(),
        seed: settings.common.seed,
        device: device.clone(),
    };
    let data = Remembered::new(data);
    let oracle = AutodiffOracle::new(Regulator(system), &gain, &critic, data)?;
    Ok((gain, oracle))
}

/// The policy at the start, and the problem of the pole.
fn cart_pole(
    settings: &Settings,
    device: &Device,
) -> Result<(SoftmaxRegression, OnPolicy), BenchError> {
    let Settings { environments, horizon, common, .. } = settings;
    let (policy, critic) = networks(device);
    let size = (environments.get(), horizon.get());
    let oracle = OnPolicy::new(&policy, &critic, size, common.seed, device.clone())?;
    Ok((policy, oracle))
}

/// A policy that pushes at random and a critic that is 0, of the pole.
fn networks(device: &Device) -> (SoftmaxRegression, SoftmaxRegression) {
    let linear = |features| SoftmaxRegressionConfig::new(features, 2).init(device);
    (linear(4), linear(monomials([0.0; 4]).len()))
}

/// The optimal mean cost.
fn least(system: &System) -> f64 {
    system.mean_cost(&system.optimal())
}

/// The excess of a policy's mean cost over the optimum, relative to it.
fn excess(system: &System, least: f64, gain: &Gain) -> f64 {
    system.mean_cost(&gain.matrix()) / least - 1.0
}
