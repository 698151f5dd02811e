//! Claims on `constrained`: the penalty method satisfies constraints without a projection.

use bilevel_core::*;
use burn::tensor::Device;

use super::{Claim, Findings, distance, watch};
use crate::{Constrained, ConstrainedAnswer};

const START: [f64; Constrained::SIZE] = [0.2, -0.5, 0.1];
const STEPS: usize = 2000;
/// The tolerance on the constraint violation.
const CLOSE: f64 = 1e-4;

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let upper = on(Constrained::UPPER, &Constrained::upper_answer(), device)?;
    // The source leaves lower constraints to later work.
    let lower = on(Constrained::LOWER, &Constrained::lower_answer(), device)?;
    Ok(Findings { claims: vec![upper, lower], figures: Vec::new() })
}

fn on(problem: Constrained, answer: &ConstrainedAnswer, device: &Device) -> Result<Claim, Error> {
    let instance = problem.at(&START, &START, device)?;
    let settings = PenaltySettings { steps: 5, gamma: 2.0, tolerance: 1.0 };
    let method = Penalty::new(Rates::new(0.05, 0.1)?, settings)?;
    let method = method.with_factors(1.001, 0.5)?.with_multipliers();
    let (oracle, x, y) = (&instance.oracle, instance.x.clone(), instance.y.clone());
    let mut solver = JointSolver::new(oracle, method, x, y)?;
    let run = watch(&mut solver, STEPS, |x, _| distance(x, &answer.x))?;
    let violation = Constrained::violation(&run.y);
    let away = distance(&run.x, &answer.x).max(distance(&run.y, &answer.y));
    let (level, says) = match problem.level {
        Objective::Upper => ("upper", "the KKT point, h <= 0 within 1e-4"),
        Objective::Lower => ("lower", "our extension: the solution, h <= 0 within 1e-4"),
    };
    Ok(Claim {
        problem: "constrained".to_owned(),
        method: format!("penalty with multipliers, h <= 0 on the {level} level"),
        says,
        sees: format!("h = {violation:.1e}, {away:.1e} from it"),
        holds: violation <= CLOSE && away <= CLOSE,
    })
}
