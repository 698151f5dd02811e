//! Conjugate gradients on the normal equations.

use super::{Limits, LinearSolver, LinearStatus, Solution, Structure, System};
use crate::Error;

/// `normal-cg`: conjugate gradients on `A A q = A b`, in the form for least squares (CGLS).
///
/// ```text
/// r = b - A q,  s = A r,  p = s
/// a = <s, s> / <A p, A p>,  q += a p,  r -= a A p,  s' = A r,  p = s' + <s', s'> / <s, s> p
/// ```
///
/// The product `A A` is never formed, so that rounding errors grow with the condition number of A and not with its
/// square; the iterations grow with the latter.
///
/// Requires `A` symmetric; it may be indefinite or singular. From the guess 0 the solution is the minimum-norm one.
/// Where b is not in the range of A the least-squares solution comes with [`LinearStatus::Singular`]. Cost: 2 products
/// per iteration. The residual is updated.
///
/// Source: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems",
/// 1952, section 10; Å. Björck, "Numerical methods for least squares problems", 1996, Alg. 7.4.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalCg {
    limits: Limits,
}

/// The smallest threshold of `norm(A r)` relative to `norm(A) norm(r)` below which no direction improves the residual:
/// ill-conditioned systems come close to it too. Never below the rounding error of `A r`.
const STATIONARY: f64 = 1e-8;

impl NormalCg {
    /// At most `iterations` of them, until `norm(b - A q) <= tolerance norm(b)`.
    ///
    /// # Errors
    /// If `iterations` is 0 or `tolerance` not finite and positive.
    pub fn new(iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self { limits: Limits::new(iterations, tolerance)? })
    }
}

impl LinearSolver for NormalCg {
    fn name(&self) -> &'static str {
        "normal-cg"
    }

    fn describe(&self) -> String {
        format!("normal-cg({})", self.limits)
    }

    fn check(&self, structure: Structure, _: usize) -> Result<(), Error> {
        structure.require_symmetric("normal-cg")
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let limits = self.limits.of(system);
        let a = system.operator();
        let (mut q, mut r) = system.start(0.0);
        let mut residual = r.norm() / system.norm();
        let mut k = 0;
        let mut search = None;
        // A lower bound of norm(A).
        let mut size = 0.0_f64;
        loop {
            if let Some(status) = limits.end(k, residual) {
                return Solution::new(q, status, Some(residual));
            }
            let s = a.apply(&r);
            let square = s.dot(&s);
            let (slope, length) = (square.sqrt(), residual * system.norm());
            size = size.max(slope / length);
            let stationary = limits.tolerance().min(STATIONARY).max(10.0 * system.epsilon());
            if slope <= stationary * size * length {
                return Solution::new(q, LinearStatus::Singular, Some(residual));
            }
            let p = match search {
                Some((p, before)) => s.axpy(square / before, &p),
                None => s,
            };
            let ap = a.apply(&p);
            let curvature = ap.dot(&ap);
            if curvature == 0.0 {
                return Solution::new(q, LinearStatus::Singular, Some(residual));
            }
            size = size.max((curvature / p.dot(&p)).sqrt());
            let length = square / curvature;
            q = q.axpy(length, &p);
            r = r.axpy(-length, &ap);
            residual = r.norm() / system.norm();
            search = Some((p, square));
            k += 1;
        }
    }
}
