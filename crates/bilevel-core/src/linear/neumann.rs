//! The Neumann series.

use super::{Best, Limits, LinearSolver, LinearStatus, Solution, System};
use crate::Error;
use crate::error::positive;

/// `neumann`: `q = sum_j (I - eta A)^j eta b`, k terms.
///
/// ```text
/// r = b,  k times:  q += eta r,  r -= eta A r
/// ```
///
/// r is the residual of q, so that the error and the residual decrease as `norm(I - eta A)^k`: the same q as k steps of
/// gradient descent on `<q, A q> / 2 - <b, q>`.
///
/// Requires the eigenvalues of `I - eta A` inside the unit circle: for a positive definite A `eta < 2 / L` with L its
/// largest eigenvalue. Otherwise it ends with [`LinearStatus::Diverged`] and the best q. Cost: one product per term,
/// the last of which only gives the residual. The residual is updated.
///
/// Source: J. Lorraine et al., "Optimizing millions of hyperparameters by implicit differentiation",
/// 2020; [survey, section 6](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neumann {
    step_size: f64,
    limits: Limits,
}

impl Neumann {
    /// With the step size `eta`, at most `terms` terms of the series, until `norm(b - A q) <= tolerance norm(b)`.
    ///
    /// # Errors
    /// If `terms` is 0, or `step_size` or `tolerance` not finite and positive.
    pub fn new(step_size: f64, terms: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self {
            step_size: positive("neumann step size", step_size)?,
            limits: Limits::new(terms, tolerance)?,
        })
    }
}

impl LinearSolver for Neumann {
    fn name(&self) -> &'static str {
        "neumann"
    }

    fn describe(&self) -> String {
        format!("neumann(step size {}, {})", self.step_size, self.limits)
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let limits = self.limits.of(system);
        let (mut q, mut r) = system.start(0.0);
        let mut best = Best::new(&q, r.norm() / system.norm());
        let mut k = 0;
        loop {
            let residual = r.norm() / system.norm();
            if best.see(&q, residual) {
                return best.end(LinearStatus::Diverged);
            }
            if let Some(status) = limits.end(k, residual) {
                return best.end(status);
            }
            q = q.axpy(self.step_size, &r);
            r = r.axpy(-self.step_size, &system.operator().apply(&r));
            k += 1;
        }
    }
}
