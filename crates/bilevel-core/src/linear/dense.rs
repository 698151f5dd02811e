//! Factorising the assembled matrix.

use bilevel_program::Vector;
use nalgebra::{DMatrix, DVector};

use super::{LinearSolver, LinearStatus, Solution, Structure, System};
use crate::Error;
use crate::error::at_least_one;
use crate::vector_ops::unit;

/// `dense`: assembles A by one product per entry of y, and solves by LU with pivoting in f64 on the host.
///
/// Exact up to rounding, for small problems and as a reference for other solvers. A singular A ends with
/// [`LinearStatus::Singular`] and the minimum-norm least-squares solution. Requires only that A is small enough, of
/// dimension n. Cost: n products, `8 n^2` bytes and `n^3` operations. The residual is computed from the matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dense {
    limit: usize,
}

impl Default for Dense {
    fn default() -> Self {
        Self { limit: 1000 }
    }
}

impl Dense {
    /// For vectors of dimension at most 1000.
    pub fn new() -> Self {
        Self::default()
    }

    /// For vectors of dimension at most `limit`.
    ///
    /// # Errors
    /// If `limit` is 0.
    pub fn up_to(limit: usize) -> Result<Self, Error> {
        Ok(Self { limit: at_least_one("dense size limit", limit)? })
    }
}

impl LinearSolver for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn describe(&self) -> String {
        "dense".into()
    }

    fn check(&self, _: Structure, size: usize) -> Result<(), Error> {
        if size <= self.limit {
            return Ok(());
        }
        Err(Error::TooLarge { solver: "dense", found: size, limit: self.limit })
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let b = system.rhs();
        let n = b.layout().size();
        let values = (0..n).flat_map(|i| system.operator().apply(&unit(b, i)).to_vec());
        let matrix = DMatrix::from_iterator(n, n, values);
        if matrix.iter().any(|entry| !entry.is_finite()) {
            return Solution::new(b.zeros_like(), LinearStatus::NotFinite, None);
        }
        let rhs = DVector::from_vec(b.to_vec());
        let rounding = n as f64 * system.epsilon();
        let lu = matrix.clone().lu();
        let pivots = lu.u().diagonal().abs();
        let regular = pivots.min() > rounding * pivots.max();
        let (q, status) = match lu.solve(&rhs).filter(|_| regular) {
            Some(q) => (q, LinearStatus::Converged),
            None => (least_squares(&matrix, &rhs, rounding), LinearStatus::Singular),
        };
        let residual = (rhs - matrix * &q).norm() / system.norm();
        let q = Vector::from_slice(b.layout(), q.as_slice(), &b.device());
        Solution::new(q, status, Some(residual))
    }
}

/// The minimum-norm least-squares solution.
fn least_squares(matrix: &DMatrix<f64>, rhs: &DVector<f64>, rounding: f64) -> DVector<f64> {
    let svd = matrix.clone().svd(true, true);
    let least = rounding * svd.singular_values.max();
    // Fails only where the factors were not requested.
    svd.solve(rhs, least).unwrap_or_else(|_| DVector::zeros(rhs.len()))
}
