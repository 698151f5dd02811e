//! Conjugate gradients.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{LinearSolver, LinearStatus, Solution};
use crate::Error;
use crate::error::{at_least_one, not_negative, positive};

/// `cg`: conjugate gradients on `(A + d I) q = b`.
///
/// Requires `A + d I` positive definite; stops with [`LinearStatus::Indefinite`] on meeting a direction
/// that proves otherwise. In exact arithmetic it ends after as many products as `A` has distinct
/// eigenvalues.
///
/// Source: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems",
/// 1952; for hypergradients [survey, Alg. 4](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cg {
    iterations: usize,
    tolerance: f64,
    damping: f64,
}

impl Cg {
    /// At most `iterations` products, until `norm(b - A q) <= tolerance norm(b)`, without damping.
    ///
    /// # Errors
    /// If `iterations` is 0 or `tolerance` not finite and positive.
    pub fn new(iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self {
            iterations: at_least_one("cg iterations", iterations)?,
            tolerance: positive("cg tolerance", tolerance)?,
            damping: 0.0,
        })
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

impl<B: Backend> LinearSolver<B> for Cg {
    fn describe(&self) -> String {
        format!(
            "cg(iterations {}, tolerance {:e}, damping {})",
            self.iterations, self.tolerance, self.damping
        )
    }

    fn solve(
        &self,
        product: &mut dyn FnMut(&Vector<B>) -> Vector<B>,
        b: &Vector<B>,
    ) -> Solution<B> {
        let norm = b.norm();
        let mut q = b.zeros_like();
        let finish = |q, status, square: f64, products| {
            let residual = if norm > 0.0 { square.sqrt() / norm } else { 0.0 };
            Solution { q, status, residual, products }
        };
        if norm == 0.0 {
            return finish(q, LinearStatus::Converged, 0.0, 0);
        }
        let (mut r, mut p) = (b.clone(), b.clone());
        let mut square = norm * norm;
        for k in 0..self.iterations {
            if !square.is_finite() {
                return finish(q, LinearStatus::NotFinite, square, k);
            }
            if square.sqrt() <= self.tolerance * norm {
                return finish(q, LinearStatus::Converged, square, k);
            }
            let mut ap = product(&p);
            if self.damping > 0.0 {
                ap = ap.axpy(self.damping, &p);
            }
            let curvature = p.dot(&ap);
            if !curvature.is_finite() {
                return finish(q, LinearStatus::NotFinite, curvature, k + 1);
            }
            if curvature <= 0.0 {
                return finish(q, LinearStatus::Indefinite, square, k + 1);
            }
            let length = square / curvature;
            q = q.axpy(length, &p);
            r = r.axpy(-length, &ap);
            let next = r.dot(&r);
            p = r.axpy(next / square, &p);
            square = next;
        }
        let status = if !square.is_finite() {
            LinearStatus::NotFinite
        } else if square.sqrt() <= self.tolerance * norm {
            LinearStatus::Converged
        } else {
            LinearStatus::IterationLimit
        };
        finish(q, status, square, self.iterations)
    }
}
