//! Claims on `ia-gm-convex`: IAPTT-GM, Fig. 3, for three numbers and sizes of the lower steps, which the source does
//! not give.
//!
//! K lower steps take y_1 from its start z to `c x + (1 - c) z`, where `c = 1 - (1 - s)^K` for plain ones. With z
//! learned too, every x has a z with `c x + (1 - c) z = e`, and with `y_2 = x` F is 0 there: only for c = 1 is x = e
//! the only solution. So whether and when a run passes x = e depends on c, not on acceleration: c = 0.65, 0.88 and
//! 0.999 for the plain steps below, and more for accelerated ones.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Figure, Findings, Run, Trial, distance};
use crate::IaGmConvex as Problem;

/// K and s.
const SETTINGS: [(usize, f64); 3] = [(10, 0.1), (20, 0.1), (20, 0.3)];
/// The setting of the figure.
const SHOWN: (usize, f64) = (10, 0.1);
const UPPER_STEP: f64 = 1e-3;
const STEPS: usize = 3000;
/// The relative distance of x at which a run counts as converged.
const BAR: f64 = 0.05;

fn run(device: &Device, dynamics: impl Dynamics + 'static, steps: usize) -> Result<Run, Error> {
    let method = Unrolled::ia_gm(Descent::new(dynamics, steps)?);
    let upper = GradientStep::new(UPPER_STEP)?;
    let trial = Trial {
        bounds: Some(Problem::BOUNDS),
        start: Start::Learned { step_size: UPPER_STEP },
        ..Trial::new(Problem::at(0.0, 0.0, device)?, method, upper)
    };
    let answer = [Problem::ANSWER; Problem::SIZE];
    let size = distance(&answer, &[0.0; Problem::SIZE]);
    trial.run(STEPS, |x, _| distance(x, &answer) / size)
}

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let mut found = Findings::default();
    for (steps, size) in SETTINGS {
        let plain = run(device, Gd::new(size)?, steps)?;
        let printed = run(device, Nesterov::new(size)?, steps)?;
        let standard = run(device, Nesterov::standard(size)?, steps)?;
        let within = |run: &Run| run.first_below(BAR);
        let text = |run: &Run| {
            let when = within(run).map_or("never".to_owned(), |k| format!("at step {k}"));
            format!("{when}, ends at {:.3}", run.x[0])
        };
        for (name, run) in [("as printed", &printed), ("of Nesterov", &standard)] {
            found.claims.push(Claim {
                problem: "ia-gm-convex".to_owned(),
                method: format!("ia-gm-a, t_k {name}, K = {steps}, s = {size}"),
                says: "fewer steps than ia-gm",
                sees: format!("x within 5 % {}; ia-gm {}", text(run), text(&plain)),
                holds: match (within(run), within(&plain)) {
                    (Some(accelerated), Some(plain)) => accelerated < plain,
                    (accelerated, None) => accelerated.is_some(),
                    (None, Some(_)) => false,
                },
            });
        }
        if (steps, size) == SHOWN {
            found.figures.push(Figure {
                name: "ia-gm".to_owned(),
                title: format!("IA-GM and IA-GM(A), n = 50, K = {steps}, s = {size}"),
                quantity: "relative distance of x from the answer",
                curves: vec![
                    plain.curve("ia-gm"),
                    printed.curve("ia-gm-a, t_k as printed"),
                    standard.curve("ia-gm-a, t_k of Nesterov"),
                ],
            });
        }
    }
    Ok(found)
}
