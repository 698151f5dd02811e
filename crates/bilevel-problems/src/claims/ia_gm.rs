//! Claims on `ia-gm-convex`: IAPTT-GM, Fig. 3.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Figure, Findings, Run, Trial, distance};
use crate::IaGmConvex as Problem;

/// The source does not give its step sizes.
const LOWER_STEP: f64 = 0.1;
const LOWER_STEPS: usize = 10;
const UPPER_STEP: f64 = 1e-3;
const STEPS: usize = 1200;
/// The relative distance of x at which a run counts as converged.
const BAR: f64 = 0.05;

fn run(device: &Device, dynamics: impl Dynamics + 'static) -> Result<Run, Error> {
    let method = Unrolled::ia_gm(Descent::new(dynamics, LOWER_STEPS)?);
    let trial = Trial {
        bounds: Some(Problem::BOUNDS),
        start: Start::Learned { step_size: UPPER_STEP },
        ..Trial::new(Problem::at(0.0, 0.0, device)?, method, UPPER_STEP)
    };
    let answer = [Problem::ANSWER; Problem::SIZE];
    let size = distance(&answer, &[0.0; Problem::SIZE]);
    trial.run(STEPS, |x, _| distance(x, &answer) / size)
}

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let plain = run(device, Gd::new(LOWER_STEP)?)?;
    let printed = run(device, Nesterov::new(LOWER_STEP)?)?;
    let standard = run(device, Nesterov::standard(LOWER_STEP)?)?;
    let within = |run: &Run| run.first_below(BAR);
    let text = |run: &Run| within(run).map_or("never".to_owned(), |k| format!("step {k}"));
    let mut claims = Vec::new();
    for (method, run) in
        [("ia-gm-a, t_k as printed", &printed), ("ia-gm-a, t_k of Nesterov", &standard)]
    {
        claims.push(Claim {
            problem: "ia-gm-convex",
            method: method.to_owned(),
            says: "fewer steps than ia-gm",
            sees: format!("x within 5 % at {}, ia-gm at {}", text(run), text(&plain)),
            holds: match (within(run), within(&plain)) {
                (Some(accelerated), Some(plain)) => accelerated < plain,
                (accelerated, None) => accelerated.is_some(),
                (None, Some(_)) => false,
            },
        });
    }
    let figure = Figure {
        name: "ia-gm".to_owned(),
        title: "IA-GM and IA-GM(A), n = 50, K = 10".to_owned(),
        quantity: "relative distance of x from the answer",
        curves: vec![
            plain.curve("ia-gm"),
            printed.curve("ia-gm-a, t_k as printed"),
            standard.curve("ia-gm-a, t_k of Nesterov"),
        ],
    };
    Ok(Findings { claims, figures: vec![figure] })
}
