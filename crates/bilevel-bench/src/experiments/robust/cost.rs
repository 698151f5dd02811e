//! The cost of a step: steps of all methods take turns, so that other load on the machine affects all alike.

use std::time::Instant;

use bilevel_core::Solver;

use crate::error::BenchError;
use crate::memory::Phase;

/// The cost of one step of a method.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StepCost {
    /// The median of the wall-clock time over the rounds.
    pub seconds: f64,
    /// The peak of heap in use during one step, above the level before it, in bytes.
    pub peak: u64,
}

/// Measures a step of each solver: an uncounted one, one for its memory, and one for its time in each of `rounds`.
///
/// # Errors
/// The solvers'.
pub(super) fn measure(
    solvers: &mut [Box<dyn Solver + '_>],
    rounds: usize,
) -> Result<Vec<StepCost>, BenchError> {
    for solver in solvers.iter_mut() {
        solver.step(0)?;
    }
    let mut costs = Vec::new();
    for solver in solvers.iter_mut() {
        let phase = Phase::start();
        solver.step(1)?;
        costs.push(StepCost { seconds: 0.0, peak: phase.peak().heap.unwrap_or(0) });
    }
    let mut seconds = vec![Vec::new(); solvers.len()];
    for k in 2..2 + rounds {
        for (solver, seconds) in solvers.iter_mut().zip(&mut seconds) {
            let begin = Instant::now();
            solver.step(k)?;
            seconds.push(begin.elapsed().as_secs_f64());
        }
    }
    for (cost, seconds) in costs.iter_mut().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        cost.seconds = seconds.get(rounds / 2).copied().unwrap_or_default();
    }
    Ok(costs)
}
