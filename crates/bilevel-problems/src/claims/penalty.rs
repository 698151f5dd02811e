//! Claims on `penalty-smooth` and `penalty-singular`: penalty method, Figs. 1 and 2.
//!
//! Differences from the source: plain gradient steps instead of Adam on every level, and no regularisation of
//! the linear system. On the singular problems the part of v in the null space of A stays at its random
//! start, since neither the lower gradient nor the implicit formula depends on it; this alone keeps these
//! methods from the solution.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Curve, Figure, Findings, Run, Trial, watch};
use crate::{Instance, PENALTY_SIZE, PenaltySingular, PenaltySmooth, Variant};

/// The number of trials of the source.
const TRIALS: usize = 20;
/// The source does not give its step sizes.
const LOWER_STEP: f64 = 0.1;
const UPPER_STEP: f64 = 0.02;
const STEPS: usize = 400;
/// The squared distance from a solution at which a run counts as converged: four orders of magnitude below
/// that of the start.
const CLOSE: f64 = 1e-2;

/// What is compared.
enum Method {
    Hypergradient(Box<dyn HypergradientMethod>),
    Joint(Box<dyn JointMethod>),
}

/// The mean over all trials, computed in one batch.
fn mean(
    instance: Result<Instance, Error>,
    method: Result<Method, Error>,
    distance: impl Fn(u64, &[f64], &[f64]) -> f64,
) -> Result<Run, Error> {
    let measure = |u: &[f64], v: &[f64]| {
        let pairs = u.chunks(PENALTY_SIZE).zip(v.chunks(PENALTY_SIZE)).zip(0..);
        pairs.map(|((u, v), trial)| distance(trial, u, v)).sum::<f64>() / TRIALS as f64
    };
    let instance = instance?;
    match method? {
        Method::Hypergradient(method) => {
            Trial::new(instance, method, UPPER_STEP).run(STEPS, measure)
        }
        Method::Joint(method) => {
            let Instance { oracle, x, y } = instance;
            watch(&mut JointSolver::new(&oracle, method, x, y)?, STEPS, measure)
        }
    }
}

fn last(run: &Run) -> f64 {
    run.measured.last().copied().unwrap_or(f64::NAN)
}

/// Alternating gradient descent on both levels.
fn gd(_: usize) -> Result<Method, Error> {
    let rates = Rates::new(UPPER_STEP, LOWER_STEP)?;
    Ok(Method::Joint(Box::new(Alternating::new(rates))))
}

/// Step sizes that decrease as the penalty grows, from about the inverse of the curvature at the start.
fn penalty(steps: usize) -> Result<Method, Error> {
    let fall = Schedule::geometric(0.15, 1.0 / 1.1);
    Ok(Method::Joint(Box::new(Penalty::new(
        Rates::new(fall, fall)?,
        PenaltySettings { steps, gamma: 1.0, tolerance: 10.0 },
    )?)))
}

fn rmd(steps: usize) -> Result<Method, Error> {
    let method = Unrolled::rad(Descent::new(Gd::new(LOWER_STEP)?, steps)?);
    Ok(Method::Hypergradient(Box::new(method)))
}

/// As many steps for the linear system as for the lower level, from q = 0.
fn approx_grad(steps: usize) -> Result<Method, Error> {
    Ok(Method::Hypergradient(Box::new(approx(steps)?)))
}

/// The same, starting from the q of the previous upper step, which the source does not do.
fn warm_approx_grad(steps: usize) -> Result<Method, Error> {
    Ok(Method::Hypergradient(Box::new(approx(steps)?.with_warm_start())))
}

fn approx(steps: usize) -> Result<Implicit, Error> {
    let solver = ApproxGrad::gd(LOWER_STEP, steps, 1e-12)?;
    Ok(Implicit::new(Descent::new(Gd::new(LOWER_STEP)?, steps)?, solver))
}

/// The source's claim about a method on a variant of Fig. 1, if any.
fn says(variant: Variant, name: &str, steps: usize) -> Option<(&'static str, bool)> {
    match (variant, name, steps) {
        (_, "penalty", _) => Some(("converges", true)),
        (_, "gd", _) => Some(("converges to another point, or not at all", false)),
        (Variant::A, "rmd", 10) => Some(("converges to another point", false)),
        (Variant::B, "rmd", 10) => Some(("needs T > 10", false)),
        (Variant::B, "approx-grad", 1 | 5) => Some(("needs T >= 10", false)),
        (_, "approx-grad", 10) => Some(("converges", true)),
        _ => None,
    }
}

/// The methods in the figures, by their names in the claims, and T.
type Contender = (&'static str, fn(usize) -> Result<Method, Error>, &'static [usize]);

fn contenders() -> [Contender; 4] {
    const STEPS: &[usize] = &[1, 5, 10];
    [
        ("gd", gd, &[1]),
        ("rmd", rmd, STEPS),
        ("approx-grad", approx_grad, STEPS),
        ("penalty", penalty, STEPS),
    ]
}

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let mut found = Findings::default();
    for (variant, letter) in [(Variant::A, "a"), (Variant::B, "b")] {
        let smooth = PenaltySmooth(variant);
        let instance = || smooth.at(TRIALS, device);
        let far = |_, u: &[f64], v: &[f64]| smooth.distance(u, v);
        let mut curves = Vec::new();
        for (name, method, choices) in contenders() {
            for &steps in choices {
                let run = mean(instance(), method(steps), far)?;
                if let Some((says, converges)) = says(variant, name, steps) {
                    found.claims.push(Claim {
                        problem: "penalty-smooth",
                        method: format!("{name}, ({letter}), T = {steps}"),
                        says,
                        sees: format!("squared distance {:.1e}", last(&run)),
                        holds: (last(&run) <= CLOSE) == converges,
                    });
                }
                curves.push(run.curve(format!("{name}, T = {steps}")));
            }
        }
        let warm = mean(instance(), warm_approx_grad(1), far)?;
        curves.push(warm.curve("approx-grad, warm q, T = 1"));
        found.figures.push(figure(format!("penalty-smooth-{letter}"), curves));

        let singular = PenaltySingular(variant);
        let instance = || singular.at(TRIALS, device);
        let far = |trial, u: &[f64], v: &[f64]| singular.distance(trial, u, v);
        let mut curves = Vec::new();
        for (name, method, choices) in contenders() {
            let steps = choices.last().copied().unwrap_or(1);
            let run = mean(instance(), method(steps), far)?;
            let converges = name == "penalty";
            found.claims.push(Claim {
                problem: "penalty-singular",
                method: format!("{name}, ({letter}), T = {steps}"),
                says: if converges { "converges" } else { "does not converge" },
                sees: format!("squared distance {:.1e}", last(&run)),
                holds: (last(&run) <= CLOSE) == converges,
            });
            curves.push(run.curve(name));
        }
        found.figures.push(figure(format!("penalty-singular-{letter}"), curves));
    }
    Ok(found)
}

fn figure(name: String, curves: Vec<Curve>) -> Figure {
    Figure {
        title: format!("{name}: mean of {TRIALS} trials"),
        name,
        quantity: "squared distance from the nearest answer",
        curves,
    }
}
