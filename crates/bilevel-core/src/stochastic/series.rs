//! Hypergradients by a Neumann series with sampled factors.

use bilevel_program::Vector;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::estimates::{At, all, descend};
use crate::error::{at_least_one, positive};
use crate::joint::{Iterate, Seen};
use crate::{Error, Loss, Objective, Rates, Sample, Snapshot};

/// Q terms of the Neumann series for `f_yy^-1 F_y`, each factor on a separate batch.
///
/// ```text
/// whole:      q = eta sum_{p < Q} prod_{j <= p} (I - eta f_yy(s_j)) F_y        Q - 1 products
/// truncated:  q = eta Q prod_{j <= p} (I - eta f_yy(s_j)) F_y                  p products, p < Q at random
/// then        D_x = F_x - f_xy(s_0)' q                                         one product
/// ```
///
/// Both have the same mean, that of the first Q terms, whose relative error is `(1 - eta mu)^Q`. The truncated one has
/// fewer products, `(Q - 1) / 2` on average, and a variance that grows with Q.
///
/// Requires: `eta < 1 / L`, L the largest eigenvalue of `f_yy` of any batch; f strongly convex in y.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeumannSeries {
    step_size: f64,
    terms: usize,
}

/// The batches of one hypergradient. The same draw may be evaluated at several points.
pub(super) struct Draw {
    upper: Vec<Sample>,
    factors: Vec<Vec<Sample>>,
    cross: Vec<Sample>,
    truncated: bool,
}

/// How many factors a truncated series has.
#[derive(Clone, Debug)]
pub(super) struct Truncation(ChaCha8Rng);

impl Truncation {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn save(&self, to: &mut Snapshot) {
        to.put_generator("truncation", &self.0);
    }

    pub fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        self.0 = from.take_generator("truncation")?;
        Ok(())
    }
}

impl NeumannSeries {
    /// With the step size `eta` and Q terms, the first of which is `eta F_y`.
    ///
    /// # Errors
    /// If `step_size` is not finite and positive, or `terms` 0.
    pub fn new(step_size: f64, terms: usize) -> Result<Self, Error> {
        Ok(Self {
            step_size: positive("step size of the Neumann series", step_size)?,
            terms: at_least_one("terms of the Neumann series", terms)?,
        })
    }

    /// A batch for every factor, and all partial products.
    pub(super) fn whole(&self, at: &mut Iterate<'_>) -> Draw {
        Draw { truncated: false, ..Self::sampled(at, self.terms - 1) }
    }

    /// A random number of factors, and only the last product.
    pub(super) fn truncated(&self, at: &mut Iterate<'_>, Truncation(rng): &mut Truncation) -> Draw {
        Self::sampled(at, rng.random_range(0..self.terms))
    }

    fn sampled(at: &mut Iterate<'_>, factors: usize) -> Draw {
        let upper = vec![at.sampler.draw(Objective::Upper)];
        let mut lower = || vec![at.sampler.draw(Objective::Lower)];
        let factors = (0..factors).map(|_| lower()).collect();
        Draw { upper, factors, cross: lower(), truncated: true }
    }

    /// All batches for everything.
    pub(super) fn full(&self, at: &Iterate<'_>) -> Draw {
        let lower = all(at, Objective::Lower);
        Draw {
            upper: all(at, Objective::Upper),
            factors: vec![lower.clone(); self.terms - 1],
            cross: lower,
            truncated: false,
        }
    }

    /// F and `D_x`.
    pub(super) fn hypergradient(&self, at: &At<'_>, draw: &Draw) -> (Loss, Vector) {
        let (loss, [slope, along_x]) = at.upper(&draw.upper);
        let mut product = slope;
        let mut sum = product.clone();
        for samples in &draw.factors {
            product = product.axpy(-self.step_size, &at.hessian(&product, samples));
            if !draw.truncated {
                sum = sum.add(&product);
            }
        }
        let q = if draw.truncated { product.scale(self.terms as f64) } else { sum };
        (loss, along_x.axpy(-self.step_size, &at.cross(&q, &draw.cross)))
    }

    /// Steps on y, then one on x at the resulting y.
    pub(super) fn nested(
        &self,
        k: usize,
        at: &mut Iterate<'_>,
        rates: Rates,
        inner_steps: usize,
        draw: impl FnOnce(&mut Iterate<'_>) -> Draw,
    ) -> Seen {
        let (lower_loss, along_y) = descend(at, rates.lower.at(k), inner_steps);
        let draw = draw(at);
        let (upper_loss, along_x) = self.hypergradient(&At::now(at), &draw);
        at.move_x(rates.upper.at(k), &along_x);
        Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 }
    }
}

impl std::fmt::Display for NeumannSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} terms of step size {}", self.terms, self.step_size)
    }
}
