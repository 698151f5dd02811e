//! Claims on `constrained`: the penalty method handles upper constraints without a projection.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Findings, distance, watch};
use crate::Constrained;

const START: [f64; Constrained::SIZE] = [0.2, -0.5, 0.1];
const STEPS: usize = 2000;
/// The tolerance on the constraint violation.
const CLOSE: f64 = 1e-4;

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let answer = Constrained::upper_answer();
    let (instance, h) = Constrained::at(&START, &START, device)?;
    let method = Penalty::new(
        Rates::new(0.05, 0.1)?,
        PenaltySettings { steps: 5, gamma: 2.0, tolerance: 1.0 },
    )?
    .with_factors(1.001, 0.5)?;
    let method = method.with_multipliers().with_inequalities(h);
    let (oracle, x, y) = (&instance.oracle, instance.x.clone(), instance.y.clone());
    let mut solver = JointSolver::new(oracle, method, x, y)?;
    let run = watch(&mut solver, STEPS, |x, _| distance(x, &answer.x))?;
    let violation = Constrained::violation(&run.y);
    let away = distance(&run.x, &answer.x).max(distance(&run.y, &answer.y));
    Ok(Findings {
        claims: vec![Claim {
            problem: "constrained",
            method: "penalty with multipliers, h <= 0".to_owned(),
            says: "the KKT point, h <= 0 within 1e-4",
            sees: format!("h = {violation:.1e}, {away:.1e} from the KKT point"),
            holds: violation <= CLOSE && away <= CLOSE,
        }],
        figures: Vec::new(),
    })
}
