//! Times one hypergradient: `bilevel hypergrad`, for comparison with other libraries.
//!
//! The same numbers give the same hypergradient in every library: [`Settings::data`] reads them from a file,
//! [`Settings::gradient`] writes the result. `benches/peers` uses both.

mod data;
mod program;
mod workloads;

pub(crate) use data::write as write_tensors;
pub use data::{TensorError, TensorFault};
pub use program::{Form, Side, What, program};
pub use workloads::Workload;

use std::path::PathBuf;
use std::time::Instant;

use bilevel_core::{
    Cg, Cost, Counted, Descent, Gd, HypergradientMethod, Implicit, LowerProblem, Maml, Plan,
    Samples, Unrolled,
};
use burn::tensor::Device;
use clap::ValueEnum;
use serde::Serialize;

use crate::backend::{BackendError, DeviceName, run_on};
use crate::cli::HypergradArgs;
use crate::error::BenchError;
use crate::experiments::is_usable;
use crate::memory::resident_high_water;
use crate::report::ReportError;
use crate::settings::{Count, NonNegative, refuse};
use data::WorkloadData;

/// How a hypergradient is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Back-propagation through the lower steps.
    Rad,
    /// The implicit function theorem and conjugate gradients.
    Cg,
}

impl Method {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rad => "rad",
            Self::Cg => "cg",
        }
    }
}

/// Which lower states are kept for the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanName {
    /// All of them.
    Trajectory,
    /// All of them, and linearisations of the last steps for the backward pass.
    Results,
    /// About two square roots of them; each step is made twice.
    Sqrt,
}

/// All settings of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The problem.
    pub workload: Workload,
    /// The method.
    pub method: Method,
    /// Lower steps T; all of them are made.
    pub steps: usize,
    /// The states that `rad` keeps.
    pub plan: PlanName,
    /// Mebibytes of linearisations that the plan `results` keeps.
    pub keep: usize,
    /// Samples of each level, if drawn.
    pub samples: usize,
    /// Iterations of `cg`; all of them are made, unless the damped Hessian is not positive definite.
    pub iterations: usize,
    /// Damping of `cg`.
    pub damping: f64,
    /// Lower step size.
    pub step_size: f64,
    /// How often the hypergradient is timed, after an untimed one.
    pub repetitions: usize,
    /// A safetensors file with the numbers; none generates them.
    pub data: Option<PathBuf>,
    /// The safetensors file that the hypergradient is written to.
    pub gradient: Option<PathBuf>,
    /// Where to compute.
    pub device: DeviceName,
    /// The seed of the generated numbers.
    pub seed: u64,
}

impl Settings {
    /// Completes the arguments of the command line.
    ///
    /// # Errors
    /// If a setting does not fit the method or the workload.
    pub fn new(args: HypergradArgs) -> Result<Self, BenchError> {
        let settings = Self {
            workload: args.workload,
            method: args.method,
            steps: args.lower_steps.get(),
            plan: args.plan.unwrap_or(PlanName::Results),
            keep: args.keep.map_or(256, usize::from),
            samples: args.samples.map_or(args.workload.samples(), |samples| samples as usize),
            iterations: args.solver_iterations.map_or(20, Count::get),
            damping: args.damping.map_or(0.0, NonNegative::get),
            step_size: args.step_size.get(),
            repetitions: args.repetitions as usize,
            data: args.data,
            gradient: args.gradient,
            device: args.device,
            seed: args.seed,
        };
        match settings.method {
            Method::Cg if settings.workload.learns_start() => Err(refuse(
                "--method",
                "cg",
                "rad",
                "x is where the lower level starts in this workload, to which the implicit formula does not apply; \
                 take another --workload for cg",
            )),
            Method::Cg if args.plan.is_some() => {
                Err(refuse("--plan", "given", "none for cg", "cg keeps one state: leave it out"))
            }
            _ if args.keep.is_some() && settings.plan != PlanName::Results => {
                let cure = "leave it or --plan out";
                Err(refuse("--keep", "given", "none for this plan", cure))
            }
            Method::Rad if args.solver_iterations.is_some() || args.damping.is_some() => {
                let setting =
                    if args.damping.is_some() { "--damping" } else { "--solver-iterations" };
                let cure = "rad solves no linear system: leave it out";
                Err(refuse(setting, "given", "none for rad", cure))
            }
            _ => Ok(settings),
        }
    }

    /// The method.
    fn method(&self) -> Result<Box<dyn HypergradientMethod>, bilevel_core::Error> {
        let descent = Descent::new(Gd::new(self.step_size)?, self.steps)?;
        let plan = match self.plan {
            PlanName::Trajectory => Plan::Trajectory,
            PlanName::Results => Plan::Results(self.keep.saturating_mul(1 << 20)),
            PlanName::Sqrt => Plan::Sqrt,
        };
        Ok(match (self.method, self.workload) {
            // A tolerance that no residual reaches, so that every iteration is made.
            (Method::Cg, _) => {
                let cg = Cg::new(self.iterations, f64::MIN_POSITIVE)?;
                Box::new(Implicit::new(descent, cg.with_damping(self.damping)?))
            }
            (Method::Rad, Workload::Small | Workload::Conv) => {
                Box::new(Maml::new(descent).with_plan(plan))
            }
            (Method::Rad, _) => Box::new(Unrolled::rad(descent).with_plan(plan)),
        })
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The problem.
    pub workload: Workload,
    /// The method.
    pub method: Method,
    /// The states kept by `rad`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// Where it was computed.
    pub device: DeviceName,
    /// Lower steps.
    pub steps: usize,
    /// Samples of each level; tasks of `meta-batch`.
    pub samples: usize,
    /// The median over the repetitions.
    pub seconds_median: f64,
    /// Each repetition.
    pub seconds_all: Vec<f64>,
    /// The peak of physical memory of the process since its start, data included; none if the system does not report
    /// it.
    pub peak_resident_mib: Option<f64>,
    /// `norm(dF/dx)`
    pub hypergradient_norm: f64,
    /// F at the end of the lower steps.
    pub upper_loss: f64,
    /// Of one hypergradient.
    pub oracle_calls: Cost,
    /// How far the hypergradient can be trusted.
    pub status: String,
    /// Whether it can be used at all: not if the lower steps increased f, for example.
    pub ok: bool,
}

/// Computes the hypergradient once, and then as often as the settings say with timing.
///
/// # Errors
/// If the data, the device or a setting cannot be used, the lower level diverges, or the hypergradient
/// cannot be written.
pub fn run(settings: &Settings) -> Result<Report, BenchError> {
    let name = settings.device.resolve()?;
    let fits = |samples| name.check_arrays(&settings.workload.arrays(samples));
    let numbers = match &settings.data {
        Some(path) => data::read(path, settings.workload)?,
        None => {
            fits(settings.samples)?;
            data::draw(settings.workload, settings.samples, settings.seed)
        }
    };
    fits(numbers.samples)?;
    run_on(name, |device| measure(settings, name, numbers, device))?
}

fn measure(
    settings: &Settings,
    name: DeviceName,
    numbers: WorkloadData,
    device: Device,
) -> Result<Report, BenchError> {
    let samples = numbers.samples;
    let built = workloads::build(settings.workload, numbers, &device)?;
    let mut method = settings.method()?;
    let oracle = Counted::new(built.oracle);
    let problem = LowerProblem::new(&oracle, &built.x, Samples::default());
    let mut compute = || {
        let found = method.hypergradient(problem, &built.y)?;
        device.sync().map_err(|cause| BackendError::Device(format!("{cause:?}")))?;
        Ok::<_, BenchError>(found)
    };

    let before = oracle.cost();
    let mut found = compute()?;
    let oracle_calls = oracle.cost() - before;
    let mut seconds_all = Vec::with_capacity(settings.repetitions);
    for _ in 0..settings.repetitions {
        let begin = Instant::now();
        found = compute()?;
        seconds_all.push(begin.elapsed().as_secs_f64());
    }
    // Before the hypergradient is read in f64, which may take more memory than computing it.
    let peak = resident_high_water();
    if let Some(path) = &settings.gradient {
        let parameters = settings.workload.upper_parameters(samples);
        data::write(path, &parameters, &found.gradient.to_vec(), None)?;
    }
    Ok(Report {
        workload: settings.workload,
        method: settings.method,
        plan: (settings.method == Method::Rad).then_some(settings.plan),
        device: name,
        steps: settings.steps,
        samples,
        seconds_median: median(&seconds_all),
        seconds_all,
        peak_resident_mib: peak.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        hypergradient_norm: found.gradient.norm(),
        upper_loss: found.upper_loss.read(),
        oracle_calls,
        status: found.status.to_string(),
        ok: is_usable(&found.status),
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    (low + high) / 2.0
}

impl Report {
    /// One line of JSON.
    ///
    /// # Errors
    /// If a figure cannot be represented in JSON.
    pub fn json(&self) -> Result<String, ReportError> {
        serde_json::to_string(self)
            .map_err(|cause| ReportError::Format { file: "the report", what: cause.to_string() })
    }

    /// A small table: one figure per line.
    pub fn table(&self) -> String {
        let memory = self.peak_resident_mib.map_or("-".into(), |mib| format!("{mib:.0} MiB"));
        let least = self.seconds_all.iter().copied().fold(f64::INFINITY, f64::min);
        let (workload, method) = (self.workload.as_str(), self.method.as_str());
        let (device, calls) = (self.device, self.oracle_calls);
        let rows = [
            ("workload", format!("{workload}, {} samples", self.samples)),
            ("method", format!("{method}, {} lower steps, on {device}", self.steps)),
            ("seconds", format!("{:.4} (median), {least:.4} (least)", self.seconds_median)),
            ("peak resident", memory),
            ("hypergradient", format!("norm {:.6e}", self.hypergradient_norm)),
            ("upper loss", format!("{:.6}", self.upper_loss)),
            (
                "oracle calls",
                format!(
                    "{} gradients, {} products, {} values",
                    calls.upper_gradients + calls.lower_gradients,
                    calls.products(),
                    calls.upper_values + calls.lower_values,
                ),
            ),
            ("status", self.status.clone()),
        ];
        rows.iter().map(|(name, value)| format!("{name:<14} {value}\n")).collect()
    }
}
