//! Claims on `many-solutions`: which of the lower solutions a method selects.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Findings, Run, Trial, watch};
use crate::ManySolutions as Problem;

const STEP: f64 = 0.1;
const LOWER: f64 = 0.5;
const LOWER_STEPS: usize = 16;
const STEPS: usize = 400;
const START: f64 = 1.5;
const CLOSE: f64 = 0.02;

fn unrolled(dynamics: impl Dynamics + 'static, device: &Device) -> Result<Run, Error> {
    let rad = Unrolled::rad(Descent::new(dynamics, LOWER_STEPS)?);
    let upper = GradientStep::new(STEP)?;
    let trial = Trial {
        bounds: Some(Problem::BOUNDS),
        ..Trial::new(Problem::at(START, device)?, rad, upper)
    };
    trial.run(STEPS, |_, _| 0.0)
}

fn bvfim(pessimistic: bool, device: &Device) -> Result<Run, Error> {
    let relaxation = Relaxation::geometric(0.1, 0.99)?;
    let settings = BvfimSettings {
        lower_steps: LOWER_STEPS,
        lower_rate: LOWER.into(),
        steps: LOWER_STEPS,
        relaxation,
    };
    let method = Bvfim::new(Rates::new(STEP, STEP)?, settings)?;
    let method = if pessimistic { method.pessimistic() } else { method };
    let instance = Problem::at(START, device)?;
    let (x, y) = (instance.x.clone(), instance.y.clone());
    let [low, high] = Problem::BOUNDS;
    let mut solver =
        JointSolver::new(&instance.oracle, method, x, y)?.with_projection(Bounds::new(low, high)?);
    watch(&mut solver, STEPS, |_, _| 0.0)
}

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let weight = Weight::Decaying(0.5);
    let optimistic = ("the best lower solution: x = 3, y2 = -pi/2", Problem::OPTIMISTIC);
    let pessimistic = ("the worst lower solution: x = 1, y2 = pi/2", Problem::PESSIMISTIC);
    let neither = ("that of the start: x = 2, y2 = 0", (Problem::NEITHER, 0.0));
    let runs = [
        ("rad", neither, unrolled(Gd::new(LOWER)?, device)?),
        ("bda", optimistic, unrolled(Aggregated::new(LOWER, LOWER, weight)?, device)?),
        ("pbda", pessimistic, unrolled(Aggregated::pessimistic(LOWER, LOWER, weight)?, device)?),
        ("bvfim", optimistic, bvfim(false, device)?),
        ("bvfim, pessimistic", pessimistic, bvfim(true, device)?),
    ];
    let claim = |(method, (says, (x, free)), run): (&str, (&'static str, (f64, f64)), Run)| Claim {
        problem: "many-solutions".to_owned(),
        method: method.to_owned(),
        says,
        sees: format!("x = {:.3}, y2 = {:.3}", run.x[0], run.y[1]),
        holds: (run.x[0] - x).abs() <= CLOSE && (run.y[1] - free).abs() <= CLOSE,
    };
    Ok(Findings { claims: runs.into_iter().map(claim).collect(), figures: Vec::new() })
}
