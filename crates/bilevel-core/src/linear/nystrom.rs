//! The Nyström approximation.

use bilevel_program::Vector;
use nalgebra::{DMatrix, DVector};
use rand::{SeedableRng, seq::index};
use rand_chacha::ChaCha8Rng;

use super::{LinearSolver, LinearStatus, Solution, Structure, System};
use crate::Error;
use crate::error::{at_least_one, positive};
use crate::vector_ops::unit;

/// `nystrom`: `q = (C W^+ C' + rho I)^-1 b`, with k random columns C of A, and W the rows of C with the same indices.
///
/// By the Woodbury formula, with `W^+ = Z Z'`:
///
/// ```text
/// q = (b - C Z (rho I + Z' C' C Z)^-1 Z' C' b) / rho
/// ```
///
/// With all columns it is `(A + rho I)^-1 b`; the error decreases with k as the eigenvalues of A do. The products do
/// not depend on each other, and k of them suffice however ill-conditioned `A + rho I` is.
///
/// Requires A symmetric positive semidefinite: a W with a negative eigenvalue proves otherwise, is used
/// without it, and gives [`LinearStatus::Indefinite`]. Memory: k vectors. Cost: k products, one more for
/// the residual, which is the true one of `A + rho I`; the status is [`LinearStatus::Approximate`].
///
/// Source: R. Hataya and M. Yamada, "Nyström method for accurate and scalable implicit
/// differentiation", 2023.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nystrom {
    columns: usize,
    damping: f64,
    seed: u64,
}

impl Nystrom {
    /// With k = `columns`, at most the dimension of y, and `rho = damping`; the same seed gives the same columns.
    ///
    /// # Errors
    /// If `columns` is 0 or `damping` not finite and positive.
    pub fn new(columns: usize, damping: f64, seed: u64) -> Result<Self, Error> {
        Ok(Self {
            columns: at_least_one("nystrom columns", columns)?,
            damping: positive("nystrom damping", damping)?,
            seed,
        })
    }
}

impl LinearSolver for Nystrom {
    fn name(&self) -> &'static str {
        "nystrom"
    }

    fn describe(&self) -> String {
        let Self { columns, damping, seed } = self;
        format!("nystrom(columns {columns}, damping {damping}, seed {seed})")
    }

    fn check(&self, structure: Structure, _: usize) -> Result<(), Error> {
        structure.require_symmetric("nystrom")
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let (a, b) = (system.operator(), system.rhs());
        let n = b.layout().size();
        let k = self.columns.min(n);
        let chosen = index::sample(&mut ChaCha8Rng::seed_from_u64(self.seed), n, k).into_vec();
        let columns: Vec<_> = chosen.iter().map(|i| a.apply(&unit(b, *i))).collect();
        let within = columns.iter().flat_map(|column| {
            let values = column.to_vec();
            chosen.iter().map(move |i| values[*i]).collect::<Vec<_>>()
        });
        let within = DMatrix::from_iterator(k, k, within);
        let gram = DMatrix::from_fn(k, k, |i, j| columns[i].dot(&columns[j]));
        if gram.iter().chain(within.iter()).any(|entry| !entry.is_finite()) {
            return Solution::new(b.zeros_like(), LinearStatus::NotFinite, None);
        }
        // C' C contains the squares of the eigenvalues: only half of its digits are exact.
        let (z, definite) = inverse_root(within, system.epsilon().sqrt());
        let moments = DVector::from_iterator(k, columns.iter().map(|column| column.dot(b)));
        let small = z.tr_mul(&(gram * &z)) + DMatrix::identity(z.ncols(), z.ncols()) * self.damping;
        let weights = small.cholesky().map(|small| &z * small.solve(&z.tr_mul(&moments)));
        let combine = |weights: &DVector<f64>| -> Vector {
            let rest = columns.iter().zip(weights.iter());
            rest.fold(b.clone(), |rest, (column, w)| rest.axpy(-w, column))
        };
        let q = weights.as_ref().map_or_else(|| b.clone(), combine).scale(1.0 / self.damping);
        let residual = b.sub(&a.apply_damped(&q, self.damping)).norm() / system.norm();
        let status = match (definite, weights) {
            (false, _) => LinearStatus::Indefinite,
            (true, None) => LinearStatus::Breakdown,
            (true, Some(_)) => LinearStatus::Approximate,
        };
        Solution::new(q, status, Some(residual))
    }
}

/// Z with `Z Z'` the pseudo-inverse of the positive part of `w`, and whether there is no other part.
fn inverse_root(w: DMatrix<f64>, rounding: f64) -> (DMatrix<f64>, bool) {
    let w = (&w + w.transpose()) * 0.5;
    let eigen = w.symmetric_eigen();
    let least = rounding * eigen.eigenvalues.amax();
    let kept: Vec<_> =
        (0..eigen.eigenvalues.len()).filter(|i| eigen.eigenvalues[*i] > least).collect();
    let z = DMatrix::from_fn(eigen.eigenvalues.len(), kept.len(), |i, j| {
        eigen.eigenvectors[(i, kept[j])] / eigen.eigenvalues[kept[j]].sqrt()
    });
    (z, eigen.eigenvalues.min() >= -least)
}
