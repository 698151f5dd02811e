//! Claims on `penalty-smooth` and `penalty-singular`: penalty method, Figs. 1 and 2.
//!
//! The settings are as reported of the authors' program, which was not available: 40,001 upper steps, one pair of step
//! sizes for all methods, x ten times as fast as y, and Adam on every variable except the y of reverse mode. With x
//! that fast, y follows it only if T steps of y keep up, which is what the figures show: with steps of y as large as
//! those of x, every method on `penalty-smooth` (b) would reach its solution.
//!
//! Differences from the source: our Adam of y and q under `approx-grad` restarts at each upper step; the penalty and
//! its tolerance, which the source leaves open, start at 1; the damping of the singular linear system is 0.01.

use bilevel_core::*;
use burn::optim::AdamConfig;
use burn::tensor::Device;

use super::{Claim, Curve, Figure, Findings, Length, Run, Trial, watch};
use crate::{Instance, PENALTY_SIZE, PenaltySingular, PenaltySmooth, Values, Variant};

/// The number of trials of the source.
const TRIALS: usize = 20;
/// The squared distance from a solution at which a run counts as converged: a tenth of that of the start.
const CLOSE: f64 = 0.7;

/// How many upper steps, and the step sizes of x and y.
#[derive(Clone, Copy)]
struct Pace {
    steps: usize,
    upper: f64,
    lower: f64,
}

impl Pace {
    fn of(length: Length) -> Self {
        match length {
            Length::Paper => Self { steps: 40_001, upper: 1e-3, lower: 1e-4 },
            // About as far, in steps forty times as large.
            Length::Short => Self { steps: 1000, upper: 4e-2, lower: 4e-3 },
        }
    }
}

/// What is compared.
enum Method {
    Hypergradient(Box<dyn HypergradientMethod>),
    Joint(Box<dyn JointMethod>),
}

/// `(trial, x, y)` to a number.
type Measure<'a> = &'a dyn Fn(usize, &[f64], &[f64]) -> f64;

/// A problem: its start, and the squared distance of a trial from the nearest solution.
struct Posed<'a> {
    instance: Instance,
    distance: Measure<'a>,
    device: &'a Device,
}

/// The mean over all trials, computed in one batch.
fn mean(posed: Posed<'_>, method: Method, pace: Pace) -> Result<Run, Error> {
    let measure = |u: &[f64], v: &[f64]| {
        let pairs = u.chunks(PENALTY_SIZE).zip(v.chunks(PENALTY_SIZE)).zip(0..);
        pairs.map(|((u, v), trial)| (posed.distance)(trial, u, v)).sum::<f64>() / TRIALS as f64
    };
    match method {
        Method::Hypergradient(method) => {
            let like = Values::new(&[0.0; TRIALS * PENALTY_SIZE], posed.device);
            let adam = AdamConfig::new().with_epsilon(1e-8).build();
            let upper = BurnOptimizer::new(adam, &like, pace.upper)?;
            Trial::new(posed.instance, method, upper).run(pace.steps, measure)
        }
        Method::Joint(method) => {
            let Instance { oracle, x, y } = posed.instance;
            let mut solver = JointSolver::new(&oracle, method, x, y)?
                .with_momentum(Variable::X, Moments::default())
                .with_momentum(Variable::Y, Moments::default());
            watch(&mut solver, pace.steps, measure)
        }
    }
}

fn last(run: &Run) -> f64 {
    run.measured.last().copied().unwrap_or(f64::NAN)
}

/// Alternating descent on both levels.
fn gd(pace: Pace, _: usize, _: f64) -> Result<Method, Error> {
    Ok(Method::Joint(Box::new(Alternating::new(Rates::new(pace.upper, pace.lower)?))))
}

fn penalty(pace: Pace, steps: usize, _: f64) -> Result<Method, Error> {
    let rates = Rates::new(pace.upper, pace.lower)?;
    Ok(Method::Joint(Box::new(Penalty::new(
        rates,
        PenaltySettings { steps, gamma: 1.0, tolerance: 1.0 },
    )?)))
}

fn rmd(pace: Pace, steps: usize, _: f64) -> Result<Method, Error> {
    let method = Unrolled::rad(Descent::new(Gd::new(pace.lower)?, steps)?);
    Ok(Method::Hypergradient(Box::new(method)))
}

/// As many steps for the linear system as for the lower level, from the q of the previous upper step.
fn approx_grad(pace: Pace, steps: usize, damping: f64) -> Result<Method, Error> {
    let solver = ApproxGrad::adam(pace.lower, steps, 1e-12)?.with_damping(damping)?;
    let descent = Descent::new(Adam::new(pace.lower)?.with_epsilon_outside(1e-8)?, steps)?;
    Ok(Method::Hypergradient(Box::new(Implicit::new(descent, solver).with_warm_start())))
}

/// The source's claim about a method on a variant of Fig. 1, if any, and whether it converges.
fn says(variant: Variant, name: &str, steps: usize) -> Option<(&'static str, bool)> {
    match (variant, name, steps) {
        (_, "penalty", _) => Some(("converges", true)),
        (_, "gd", _) => Some(("converges to another point, or not at all", false)),
        (Variant::A, "rmd", _) => Some(("converges to another point", false)),
        (Variant::B, "rmd", _) => Some(("needs T > 10", false)),
        (Variant::B, "approx-grad", 1 | 5) => Some(("needs T >= 10", false)),
        (_, "approx-grad", _) => Some(("converges", true)),
        _ => None,
    }
}

/// The methods in the figures, by their names in the claims, and T.
type Contender = (&'static str, fn(Pace, usize, f64) -> Result<Method, Error>, &'static [usize]);

fn contenders() -> [Contender; 4] {
    const STEPS: &[usize] = &[1, 5, 10];
    [
        ("gd", gd, &[1]),
        ("rmd", rmd, STEPS),
        ("approx-grad", approx_grad, STEPS),
        ("penalty", penalty, STEPS),
    ]
}

/// In the short form, only `penalty-smooth` (b), which tells the methods apart.
pub(super) fn findings(length: Length, device: &Device) -> Result<Findings, Error> {
    let pace = Pace::of(length);
    let mut found = Findings::default();
    if length == Length::Short {
        return smooth(Variant::B, "b", pace, device);
    }
    for (variant, letter) in [(Variant::A, "a"), (Variant::B, "b")] {
        found.extend(smooth(variant, letter, pace, device)?);
        found.extend(singular(variant, letter, pace, device)?);
    }
    Ok(found)
}

fn claim(
    problem: &'static str,
    method: String,
    (says, converges): (&'static str, bool),
    run: &Run,
) -> Claim {
    let sees = format!("squared distance {:.0e}", last(run));
    let holds = (last(run) <= CLOSE) == converges;
    Claim { problem: problem.to_owned(), method, says, sees, holds }
}

fn smooth(variant: Variant, letter: &str, pace: Pace, device: &Device) -> Result<Findings, Error> {
    let smooth = PenaltySmooth(variant);
    let distance = |_: usize, u: &[f64], v: &[f64]| smooth.distance(u, v);
    let (mut claims, mut curves) = (Vec::new(), Vec::new());
    for (name, method, choices) in contenders() {
        for &steps in choices {
            let instance = smooth.at(TRIALS, device)?;
            let posed = Posed { instance, distance: &distance, device };
            let run = mean(posed, method(pace, steps, 0.0)?, pace)?;
            if let Some(says) = says(variant, name, steps) {
                let method = format!("{name}, ({letter}), T = {steps}");
                claims.push(claim("penalty-smooth", method, says, &run));
            }
            curves.push(run.curve(format!("{name}, T = {steps}")));
        }
    }
    Ok(Findings { claims, figures: vec![figure(format!("penalty-smooth-{letter}"), curves)] })
}

/// With the largest T only.
fn singular(
    variant: Variant,
    letter: &str,
    pace: Pace,
    device: &Device,
) -> Result<Findings, Error> {
    const DAMPING: f64 = 0.01;
    let singular = PenaltySingular(variant);
    let ranges: Vec<_> = (0..TRIALS as u64).map(PenaltySingular::range).collect();
    let distance = |trial: usize, u: &[f64], v: &[f64]| singular.distance(&ranges[trial], u, v);
    let (mut claims, mut curves) = (Vec::new(), Vec::new());
    for (name, method, choices) in contenders() {
        let steps = choices.last().copied().unwrap_or(1);
        let instance = singular.at(TRIALS, device)?;
        let posed = Posed { instance, distance: &distance, device };
        let run = mean(posed, method(pace, steps, DAMPING)?, pace)?;
        let says = match name {
            "penalty" => ("converges", true),
            _ => ("does not converge", false),
        };
        let method = format!("{name}, ({letter}), T = {steps}");
        claims.push(claim("penalty-singular", method, says, &run));
        curves.push(run.curve(name));
    }
    Ok(Findings { claims, figures: vec![figure(format!("penalty-singular-{letter}"), curves)] })
}

fn figure(name: String, curves: Vec<Curve>) -> Figure {
    Figure {
        title: format!("{name}: mean of {TRIALS} trials"),
        name,
        quantity: "squared distance from the nearest answer",
        curves,
    }
}
