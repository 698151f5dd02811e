//! The extreme eigenvalues, by products.

use bilevel_program::Vector;
use nalgebra::DMatrix;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Operator, System};
use crate::Error;
use crate::error::at_least_one;

/// `lanczos`: the extreme eigenvalues of a symmetric A, from its restriction to the Krylov space of a random vector.
///
/// ```text
/// V' A V = T, tridiagonal;  V = (v, A v, ..., A^{k-1} v), made orthonormal
/// ```
///
/// The eigenvalues of T lie within the spectrum of A, so that a negative one proves that A is indefinite. The extreme
/// ones approach those of A long before k is the dimension: with the products of k power iterations the largest is
/// closer, and the smallest is found as well. Where the Krylov space is invariant under A, at the latest after n steps,
/// they are eigenvalues of A.
///
/// Requires: `A` symmetric. Cost: k products and `2 k^2` inner products, which keep V orthonormal; memory: k vectors.
///
/// Source: C. Lanczos, "An iteration method for the solution of the eigenvalue problem of linear differential and
/// integral operators", 1950; B. N. Parlett, "The symmetric eigenvalue problem", 1998, chapter 13.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanczos {
    steps: usize,
    seed: u64,
}

/// The extreme eigenvalues, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spectrum {
    /// The smallest eigenvalue found. The smallest one of A is not above it.
    pub least: f64,
    /// The largest eigenvalue found. The largest one of A is not below it.
    pub greatest: f64,
    /// The smallest one found that is above 0 by more than rounding; none if there is none.
    pub least_positive: Option<f64>,
    /// The distance from `least` within which A has an eigenvalue.
    pub least_error: f64,
    /// The distance from `greatest` within which A has an eigenvalue.
    pub greatest_error: f64,
    /// The products it took.
    pub products: usize,
}

impl Spectrum {
    /// `greatest + greatest_error`: the largest eigenvalue of A hardly ever exceeds it.
    ///
    /// Source: Y. Zhou and R.-C. Li, "Bounding the spectrum of large Hermitian matrices", 2011.
    pub fn above(&self) -> f64 {
        self.greatest + self.greatest_error
    }

    /// The larger of the two absolute values.
    pub fn radius(&self) -> f64 {
        self.above().max(-self.least)
    }
}

impl Lanczos {
    /// With at most `steps` products, from a random vector by `seed`.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn new(steps: usize, seed: u64) -> Result<Self, Error> {
        Ok(Self { steps: at_least_one("lanczos steps", steps)?, seed })
    }

    /// The extreme eigenvalues of `operator` on vectors like `like`; NaN where a product is not finite.
    ///
    /// # Errors
    /// If the operator is not known to be symmetric, before any product.
    pub fn run(&self, operator: &Operator<'_>, like: &Vector) -> Result<Spectrum, Error> {
        operator.structure().require_symmetric("lanczos")?;
        let n = like.layout().size();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let draws: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut next = Vector::from_slice(like.layout(), &draws, &like.device());
        let mut length = next.norm();
        let rounding = System::new(operator, &next).epsilon();
        let (mut basis, mut diagonal, mut beside) = (Vec::new(), Vec::new(), Vec::new());
        let mut size = 0.0_f64;
        while basis.len() < self.steps.min(n) {
            let v = next.scale(1.0 / length);
            next = operator.apply(&v);
            let image = next.norm();
            size = size.max(image);
            diagonal.push(v.dot(&next));
            basis.push(v);
            // Twice is enough for orthogonality up to rounding.
            for _ in 0..2 {
                next = basis.iter().fold(next, |next, v| next.axpy(-v.dot(&next), v));
            }
            length = next.norm();
            beside.push(length);
            if !image.is_finite() || length <= 10.0 * rounding * size {
                break;
            }
        }
        let k = diagonal.len();
        if diagonal.iter().chain(&beside).any(|entry: &f64| !entry.is_finite()) {
            let nothing = f64::NAN;
            return Ok(Spectrum {
                least: nothing,
                greatest: nothing,
                least_positive: None,
                least_error: nothing,
                greatest_error: nothing,
                products: k,
            });
        }
        let eigen = DMatrix::from_fn(k, k, |i, j| match i.abs_diff(j) {
            0 => diagonal[i],
            1 => beside[i.min(j)],
            _ => 0.0,
        })
        .symmetric_eigen();
        let (low, high) = (eigen.eigenvalues.argmin(), eigen.eigenvalues.argmax());
        // The part of the last product outside of the space.
        let error = |at: usize| beside[k - 1] * eigen.eigenvectors[(k - 1, at)].abs();
        let rounding = rounding.sqrt() * high.1.max(-low.1);
        let positive = eigen.eigenvalues.iter().copied().filter(|value| *value > rounding);
        Ok(Spectrum {
            least: low.1,
            greatest: high.1,
            least_positive: positive.min_by(f64::total_cmp),
            least_error: error(low.0),
            greatest_error: error(high.0),
            products: k,
        })
    }
}
