//! The check of a problem's losses against finite differences.

use bilevel_core::{BilevelProblem, Error, Objective};
use bilevel_data::{Purpose, stream};
use bilevel_program::{Layout, Tolerances, Vector, check_within};
use burn::module::{Module, ModuleDisplay};
use burn::tensor::Device;
use rand::Rng;

use super::Checked;
use crate::error::BenchError;

/// Both variables, so that a report names them.
#[derive(Module, Debug)]
struct Both<X: Module + ModuleDisplay, Y: Module + ModuleDisplay> {
    x: X,
    y: Y,
}

/// Steps so short that a kink of ReLU, where a loss has no derivative, rarely lies within one.
pub const BETWEEN_KINKS: Tolerances = Tolerances { step: 1e-6, reach: 2e-5, ..Tolerances::F64 };

/// Checks the derivatives of both losses in x and y together, at a random point.
///
/// # Errors
/// If a loss cannot be recorded.
pub fn derivatives<P: BilevelProblem>(
    problem: &P,
    (x, y): (P::Upper, P::Lower),
    batch: impl Fn(Objective, &Device) -> P::Batch,
    seed: u64,
    tolerances: &Tolerances,
) -> Result<Checked, BenchError>
where
    P::Upper: ModuleDisplay,
    P::Lower: ModuleDisplay,
{
    let both = Both { x, y };
    // Zeros, at which many variables start, would hide errors where a gradient is zero.
    let layout = Layout::of(&both);
    let mut rng = stream(seed, Purpose::Point);
    let values: Vec<f64> = (0..layout.size()).map(|_| rng.random_range(-0.5..0.5)).collect();
    let device = both.devices().first().cloned().unwrap_or_default();
    let both = Vector::from_slice(&layout, &values, &device).write_into(both);
    let checked = [Objective::Upper, Objective::Lower].map(|objective| {
        let loss = |both: &Both<P::Upper, P::Lower>| {
            let device = both.devices().first().cloned().unwrap_or_default();
            let (batch, Both { x, y }) = (batch(objective, &device), both);
            match objective {
                Objective::Upper => problem.upper_loss(x, y, &batch),
                Objective::Lower => problem.lower_loss(x, y, &batch),
            }
        };
        let report = check_within(&both, loss, tolerances);
        let what = format!("the {objective} loss");
        Ok((objective, report.map_err(|error| Error::of_recording(what, error))?))
    });
    checked.into_iter().collect()
}
