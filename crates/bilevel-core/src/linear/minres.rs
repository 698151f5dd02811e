//! Minimal residuals.

use super::{Limits, LinearSolver, LinearStatus, Solution, Structure, System};
use crate::Error;
use crate::error::not_negative;

/// `minres`: the q of smallest residual in a growing Krylov space, by a three-term recurrence, on `(A + d I) q = b`.
///
/// Requires: `A` symmetric; it may be indefinite. Where `A + d I` is singular and b is in its range, q is the
/// minimum-norm solution if q starts at 0; where b is not, it stops at the q of smallest residual:
///
/// ```text
/// norm((A + d I) r) <= 100 e norm(A + d I) norm(b)    LinearStatus::Singular
/// ```
///
/// and, where little is left of b, `norm((A + d I) r) <= 10 sqrt(e) norm(A + d I) norm(r)`,
///
/// e the unit roundoff of the vectors. The residual never increases. Cost: one product per iteration and two numbers
/// that the host reads; memory: seven vectors, however many iterations. The residual is updated, not computed anew.
///
/// Source: C. C. Paige and M. A. Saunders, "Solution of sparse indefinite systems of linear equations", 1975.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minres {
    limits: Limits,
    damping: f64,
}

impl Minres {
    /// At most `iterations` products, until `norm(b - A q) <= tolerance norm(b)`, without damping.
    ///
    /// # Errors
    /// If `iterations` is 0 or `tolerance` not finite and positive.
    pub fn new(iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self { limits: Limits::new(iterations, tolerance)?, damping: 0.0 })
    }

    /// With the damping `d`.
    ///
    /// # Errors
    /// If `d` is negative or not finite.
    pub fn with_damping(mut self, damping: f64) -> Result<Self, Error> {
        self.damping = not_negative("minres damping", damping)?;
        Ok(self)
    }
}

impl LinearSolver for Minres {
    fn name(&self) -> &'static str {
        "minres"
    }

    fn describe(&self) -> String {
        format!("minres({}, damping {})", self.limits, self.damping)
    }

    fn check(&self, structure: Structure, _: usize) -> Result<(), Error> {
        structure.require_symmetric("minres")
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let limits = self.limits.of(system);
        let (mut q, start) = system.start(self.damping);
        // Lanczos vectors before they are divided by their norms: this one and the one before.
        let (mut last, mut next) = (start.zeros_like(), start);
        let (mut last_norm, mut next_norm) = (1.0, next.norm());
        // Directions of q: this one and the one before.
        let (mut w, mut w_last) = (q.zeros_like(), q.zeros_like());
        // The rotation that eliminates below the diagonal, and what it left of the next row.
        let (mut cos, mut sin) = (-1.0, 0.0);
        let (mut bar, mut fill) = (0.0, 0.0);
        let mut residual = next_norm;
        let (mut size, rounding) = (0.0_f64, 100.0 * system.epsilon());
        let mut k = 0;
        loop {
            let relative = residual / system.norm();
            if let Some(status) = limits.end(k, relative) {
                return Solution::new(q, status, Some(relative));
            }
            // Lanczos: `A v_k = b_k v_{k-1} + a v_k + b_{k+1} v_{k+1}`.
            let v = next.scale(1.0 / next_norm);
            let mut image = system.operator().apply_damped(&v, self.damping);
            if k > 0 {
                image = image.axpy(-next_norm / last_norm, &last);
            }
            let diagonal = v.dot(&image);
            image = image.axpy(-diagonal / next_norm, &next);
            (last, last_norm) = (next, next_norm);
            next_norm = image.norm();
            next = image;
            // The row of the last rotation, and the diagonal entry before the next.
            let above = cos * bar + sin * diagonal;
            let pivot = sin * bar - cos * diagonal;
            let fill_last = fill;
            fill = sin * next_norm;
            bar = -cos * next_norm;
            size = size.max(diagonal.hypot(next_norm));
            // `norm(A r) / norm(r)`, which is as exact as what is left of b.
            if pivot.hypot(bar) <= rounding * size / relative.max(rounding.sqrt()) {
                return Solution::new(q, LinearStatus::Singular, Some(relative));
            }
            let length = pivot.hypot(next_norm);
            (cos, sin) = (pivot / length, next_norm / length);
            let direction = v.axpy(-fill_last, &w_last).axpy(-above, &w).scale(1.0 / length);
            (w_last, w) = (w, direction);
            q = q.axpy(cos * residual, &w);
            residual *= sin;
            k += 1;
        }
    }
}
