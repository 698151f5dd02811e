//! Conjugate gradients.

use super::{Limits, LinearSolver, LinearStatus, Solution, Structure, System};
use crate::Error;
use crate::error::not_negative;

/// `cg`: conjugate gradients on `(A + d I) q = b`.
///
/// Requires `A` symmetric and `A + d I` positive definite, with a condition number below about `0.1 / e`, e the unit
/// roundoff of the vectors; stops at a direction p that proves otherwise, with the q before it:
///
/// ```text
/// <p, A p> < -10 e norm(A) norm(p)^2    LinearStatus::Indefinite
/// <p, A p> <= 10 e norm(A) norm(p)^2    LinearStatus::Singular: a step along p is made of rounding
/// ```
///
/// with the lower bound of `norm(A)` that the products so far give. In exact arithmetic it ends after as many products
/// as `A` has distinct eigenvalues. Cost: one product per iteration, and two numbers that the host reads, the curvature
/// and the residual, which decide when it ends. The residual is updated, not computed anew.
///
/// Source: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems",
/// 1952; for hypergradients [survey, Alg. 4](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cg {
    limits: Limits,
    damping: f64,
}

impl Cg {
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
        self.damping = not_negative("cg damping", damping)?;
        Ok(self)
    }
}

impl LinearSolver for Cg {
    fn name(&self) -> &'static str {
        "cg"
    }

    fn describe(&self) -> String {
        format!("cg({}, damping {})", self.limits, self.damping)
    }

    fn check(&self, structure: Structure, _: usize) -> Result<(), Error> {
        structure.require_symmetric("cg")
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let limits = self.limits.of(system);
        let (mut q, mut r) = system.start(self.damping);
        let mut p = r.clone();
        let mut square = r.dot(&r);
        // `norm(p)^2`, and a lower bound of `norm(A)`: p is r and what is orthogonal to it.
        let (mut p_square, mut size) = (square, 0.0_f64);
        let rounding = 10.0 * system.epsilon();
        let mut k = 0;
        loop {
            let residual = square.sqrt() / system.norm();
            if let Some(status) = limits.end(k, residual) {
                return Solution::new(q, status, Some(residual));
            }
            let ap = system.operator().apply_damped(&p, self.damping);
            let curvature = p.dot(&ap);
            let length = square / curvature;
            let rest = r.axpy(-length, &ap);
            let next = rest.dot(&rest);
            // `length A p` is the difference of two residuals that are orthogonal to each other.
            let image = (next + square).sqrt() / length.abs();
            size = size.max(curvature.abs() / p_square).max(image / p_square.sqrt());
            let least = rounding * size * p_square;
            // NaN passes this test, and ends as a residual that is not finite.
            if curvature <= least {
                let status = if curvature < -least {
                    LinearStatus::Indefinite
                } else {
                    LinearStatus::Singular
                };
                return Solution::new(q, status, Some(residual));
            }
            q = q.axpy(length, &p);
            r = rest;
            p = r.axpy(next / square, &p);
            p_square = next + (next / square).powi(2) * p_square;
            square = next;
            k += 1;
        }
    }
}
