//! The simplex.

use bilevel_program::Vector;

use super::{Projection, Proximal};
use crate::Error;
use crate::error::positive;

/// The projection onto the simplex `y_i >= 0, sum_i y_i = c`, of each variable by itself or of all entries together.
///
/// `P(y)_i = max(y_i - theta, 0)` with the theta that gives the sum; its derivative subtracts the mean over the
/// positive entries from these, and sets the others to 0. Entries are sorted on the host: every application waits for
/// the device.
///
/// Source: J. Duchi et al., "Efficient projections onto the l1-ball for learning in high dimensions",
/// 2008, Fig. 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simplex {
    sum: f64,
    together: bool,
}

impl Simplex {
    /// Each variable on its own simplex, its entries summing to `sum`.
    ///
    /// # Errors
    /// If the sum is not finite and positive.
    pub fn each(sum: f64) -> Result<Self, Error> {
        Ok(Self { sum: positive("sum of the simplex", sum)?, together: false })
    }

    /// All entries together summing to `sum`.
    ///
    /// # Errors
    /// If the sum is not finite and positive.
    pub fn together(sum: f64) -> Result<Self, Error> {
        Ok(Self { together: true, ..Self::each(sum)? })
    }

    /// Applies `f` to the entries of every simplex at `at` and their counterparts in `direction`.
    fn on_host(&self, at: &Vector, direction: &Vector, f: impl Fn(&[f64], &mut [f64])) -> Vector {
        let layout = at.layout();
        let whole = vec![layout.size()];
        let sizes = || layout.leaves().iter().map(|leaf| leaf.shape.num_elements()).collect();
        let (points, mut values) = (at.to_vec(), direction.to_vec());
        let mut from = 0;
        for size in if self.together { whole } else { sizes() } {
            let range = from..from + size;
            from = range.end;
            f(&points[range.clone()], &mut values[range]);
        }
        Vector::from_slice(layout, &values, &at.device())
    }

    /// The theta for which `sum_i max(y_i - theta, 0) = sum`.
    fn threshold(&self, y: &[f64]) -> f64 {
        let mut sorted = y.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut total = -self.sum;
        let mut theta = f64::NAN;
        for (count, value) in (1_u32..).zip(sorted) {
            total += value;
            let candidate = total / f64::from(count);
            // The first candidate is y_max - sum, and below y_max.
            if count > 1 && value <= candidate {
                break;
            }
            theta = candidate;
        }
        theta
    }
}

impl Proximal for Simplex {
    fn describe(&self) -> String {
        let what = if self.together { "all entries" } else { "each variable" };
        format!("simplex({what}, sum {})", self.sum)
    }

    fn apply(&self, y: &Vector) -> Vector {
        self.on_host(y, y, |y, values| {
            let theta = self.threshold(y);
            values.iter_mut().for_each(|value| *value = (*value - theta).max(0.0));
        })
    }

    fn derivative(&self, at: &Vector, direction: &Vector) -> Vector {
        self.on_host(at, direction, |y, values| {
            let theta = self.threshold(y);
            let free = |y: f64| y > theta;
            let count = y.iter().filter(|y| free(**y)).count() as f64;
            let sum: f64 = y.iter().zip(&*values).filter(|(y, _)| free(**y)).map(|(_, d)| d).sum();
            for (y, value) in y.iter().zip(values) {
                *value = if free(*y) { *value - sum / count } else { 0.0 };
            }
        })
    }
}

impl Projection for Simplex {}
