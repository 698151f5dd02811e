//! Claims on the problems with known answers: `solve` reaches them without settings.

use bilevel_core::{Conclusion, Error};
use burn::tensor::Device;

use super::{Claim, Findings};
use crate::Formulas;

/// The tolerance of F and f, relative to the best known values or to 1.
const NEAR: f64 = 1e-3;
/// The tolerance of constraint violations.
const HOLDS: f64 = 1e-6;

pub(super) fn findings(device: &Device) -> Result<Findings, Error> {
    let claims = Formulas::known().map(|problem| {
        let answer = problem.solve(device)?;
        let best = problem.best().unwrap_or([f64::NAN; 2]);
        let near = |found: f64, best: f64| (found - best).abs() <= NEAR * best.abs().max(1.0);
        let reached = near(answer.upper_loss, best[0]) && near(answer.lower_loss, best[1]);
        let end = match answer.end {
            Conclusion::Stationary { .. } => "stationary",
            Conclusion::Kink { .. } => "a kink or jump",
            Conclusion::StepLimit { .. } => "step limit",
            Conclusion::Infeasible { .. } => "infeasible",
            Conclusion::Unsolved => "unsolved",
        };
        // Without the last digits, and without the sign of 0.
        let round = |v: f64| (v * 1e3).round() / 1e3 + 0.0;
        let [upper, lower] = [answer.upper_loss, answer.lower_loss].map(round);
        Ok(Claim {
            problem: problem.name().to_owned(),
            method: "solve".to_owned(),
            says: "the best known F and f, within 1e-3",
            sees: format!("F = {upper} of {}, f = {lower} of {}, {end}", best[0], best[1]),
            holds: reached && answer.violation <= HOLDS && answer.end.is_ok(),
        })
    });
    Ok(Findings { claims: claims.collect::<Result<_, Error>>()?, figures: Vec::new() })
}
