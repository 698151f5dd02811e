//! The system of the active constraints, assembled.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use crate::linear::LinearStatus;

/// K on the host: `L_yy`, and the slopes `c_y` of the active constraints as rows.
pub(super) struct Matrix {
    whole: DMatrix<f64>,
    /// The dimension of y.
    size: usize,
}

/// A solution on the host.
pub(super) struct HostSolution {
    pub z: Vec<f64>,
    pub status: LinearStatus,
    pub residual: f64,
}

/// An eigenvalue below this fraction of the largest counts as 0.
const ZERO: f64 = 1e-10;

impl Matrix {
    /// Of columns, one for each entry of y: that of `L_yy`, and the slopes of the active constraints.
    pub fn new(columns: Vec<(Vec<f64>, Vec<f64>)>) -> Self {
        let size = columns.len();
        let active = columns.first().map_or(0, |(_, slopes)| slopes.len());
        let mut whole = DMatrix::zeros(size + active, size + active);
        for (i, (column, slopes)) in columns.iter().enumerate() {
            for (k, v) in column.iter().enumerate() {
                // Symmetric up to rounding.
                whole[(k, i)] += v / 2.0;
                whole[(i, k)] += v / 2.0;
            }
            for (j, v) in slopes.iter().enumerate() {
                whole[(size + j, i)] = *v;
                whole[(i, size + j)] = *v;
            }
        }
        Self { whole, size }
    }

    /// `K z = b`, by LU; the minimum-norm least-squares solution where K is singular, and 0 where K or b is not finite.
    pub fn solve(&self, b: &[f64]) -> HostSolution {
        let b = DVector::from_column_slice(b);
        let norm = b.norm();
        if norm == 0.0 {
            let (z, status) = (vec![0.0; b.len()], LinearStatus::Converged);
            return HostSolution { z, status, residual: 0.0 };
        }
        // The iterations of an SVD do not end on NaN.
        if !(norm.is_finite() && self.is_finite()) {
            let (z, status) = (vec![0.0; b.len()], LinearStatus::NotFinite);
            return HostSolution { z, status, residual: f64::NAN };
        }
        let lu = self.whole.clone().lu();
        let pivots = lu.u().diagonal().abs();
        let regular = pivots.min() > 1e-13 * pivots.max();
        let (z, status) = match lu.solve(&b).filter(|_| regular) {
            Some(z) => (z, LinearStatus::Converged),
            None => {
                let svd = self.whole.clone().svd(true, true);
                let least = ZERO * svd.singular_values.max();
                let z = svd.solve(&b, least).unwrap_or_else(|_| DVector::zeros(b.len()));
                (z, LinearStatus::Singular)
            }
        };
        let residual = (&b - &self.whole * &z).norm() / norm;
        HostSolution { z: z.as_slice().to_vec(), status, residual }
    }

    fn is_finite(&self) -> bool {
        self.whole.iter().all(|v| v.is_finite())
    }

    /// Whether there are no more negative eigenvalues than active constraints: f has no negative curvature along them.
    pub fn is_minimum(&self) -> bool {
        if !self.is_finite() {
            return false;
        }
        let eigenvalues = self.whole.symmetric_eigenvalues();
        let least = -1e-9 * eigenvalues.amax();
        eigenvalues.iter().filter(|e| **e < least).count() <= self.whole.nrows() - self.size
    }

    /// Whether K maps no direction with a part in y to 0: the solution is isolated.
    pub fn is_isolated(&self) -> bool {
        if !self.is_finite() {
            return false;
        }
        let eigen = SymmetricEigen::new(self.whole.clone());
        let zero = ZERO * eigen.eigenvalues.amax();
        let columns = eigen.eigenvalues.iter().zip(eigen.eigenvectors.column_iter());
        columns.filter(|(e, _)| e.abs() <= zero).all(|(_, v)| v.rows(0, self.size).norm() < 1e-6)
    }
}
