//! Stabilised biconjugate gradients.

use super::{Best, Limits, LinearSolver, LinearStatus, Solution, System};
use crate::Error;

/// `bicgstab`: stabilised biconjugate gradients, for operators that are not symmetric.
///
/// Memory is 7 vectors whatever the number of iterations, where [`Gmres`](crate::linear::Gmres) keeps one per
/// iteration; in exchange the residual may increase and the recurrence break down ([`LinearStatus::Breakdown`]). The q
/// with the smallest residual is returned. Cost: 2 products per iteration. The residual is updated, not computed anew.
///
/// Source: H. A. van der Vorst, "Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG for the
/// solution of nonsymmetric linear systems", 1992.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BiCgStab {
    limits: Limits,
}

impl BiCgStab {
    /// At most `iterations` of them, until `norm(b - A q) <= tolerance norm(b)`.
    ///
    /// # Errors
    /// If `iterations` is 0 or `tolerance` not finite and positive.
    pub fn new(iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self { limits: Limits::new(iterations, tolerance)? })
    }
}

impl LinearSolver for BiCgStab {
    fn name(&self) -> &'static str {
        "bicgstab"
    }

    fn describe(&self) -> String {
        format!("bicgstab({})", self.limits)
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let limits = self.limits.of(system);
        let a = system.operator();
        // The cosine of two vectors below which they count as orthogonal.
        let epsilon = system.epsilon();
        let (mut q, mut r) = system.start(0.0);
        let shadow = r.clone();
        let shadow_norm = shadow.norm();
        let mut p = r.clone();
        let mut rho = shadow.dot(&r);
        let mut residual = r.norm() / system.norm();
        let mut best = Best::new(&q, residual);
        // A lower bound of `norm(A)`.
        let mut size = 0.0_f64;
        let mut k = 0;
        loop {
            if let Some(status) = limits.end(k, residual) {
                return best.end(status);
            }
            let v = a.apply(&p);
            let along = shadow.dot(&v);
            let (p_norm, v_norm) = (p.norm(), v.norm());
            size = size.max(v_norm / p_norm);
            // An image that is only rounding relative to the operator: what is left is its null space.
            let image = v_norm.max(10.0 * size * p_norm);
            if along.abs() <= epsilon * shadow_norm * image {
                return best.end(LinearStatus::Breakdown);
            }
            let alpha = rho / along;
            let s = r.axpy(-alpha, &v);
            q = q.axpy(alpha, &p);
            // Half a step may suffice, and then the other half is 0 / 0.
            let half = s.norm() / system.norm();
            best.see(&q, half);
            if half <= limits.tolerance() {
                return best.end(LinearStatus::Converged);
            }
            let t = a.apply(&s);
            let (overlap, square) = (s.dot(&t), t.dot(&t));
            if overlap.abs() <= epsilon * s.norm() * square.sqrt() {
                return best.end(LinearStatus::Breakdown);
            }
            let omega = overlap / square;
            q = q.axpy(omega, &s);
            r = s.axpy(-omega, &t);
            residual = r.norm() / system.norm();
            best.see(&q, residual);
            k += 1;
            let next = shadow.dot(&r);
            let orthogonal = next.abs() <= epsilon * shadow_norm * r.norm();
            if orthogonal && residual > limits.tolerance() {
                return best.end(LinearStatus::Breakdown);
            }
            p = r.axpy(next / rho * (alpha / omega), &p.axpy(-omega, &v));
            rho = next;
        }
    }
}
