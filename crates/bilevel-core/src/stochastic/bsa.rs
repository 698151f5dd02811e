//! Bilevel stochastic approximation.

use super::NeumannSeries;
use super::series::Truncation;
use crate::error::at_least_one;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Rates, Snapshot};

/// `bsa`: T steps of y, then one of x by a series of random length.
///
/// ```text
/// T times: y' = Proj(y - b f_y(x, y; s)),   x' = Proj(x - a D_x),   D_x the truncated series at (x, y')
/// ```
///
/// y starts at its last value, where the source restarts it, and b changes with the steps of x, where the source's
/// changes with those of y.
///
/// Requires: f strongly convex in y; `b < 2 / L`. Memory: x and y. Cost: T gradients of f, one of F, `p + 1` products
/// of f, p drawn uniformly from 0 to `Q - 1`.
///
/// Source: S. Ghadimi and M. Wang, "Approximation methods for bilevel programming", 2018.
#[derive(Clone, Debug)]
pub struct Bsa {
    rates: Rates,
    inner_steps: usize,
    series: NeumannSeries,
    truncation: Truncation,
}

impl Bsa {
    /// With the step sizes `rates`, T `inner_steps` and the hypergradient by `series`, truncated with the seed 0.
    ///
    /// # Errors
    /// If `inner_steps` is 0.
    pub fn new(rates: Rates, inner_steps: usize, series: NeumannSeries) -> Result<Self, Error> {
        let inner_steps = at_least_one("inner steps", inner_steps)?;
        Ok(Self { rates, inner_steps, series, truncation: Truncation::new(0) })
    }

    /// With another seed for the numbers of factors.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.truncation = Truncation::new(seed);
        self
    }
}

impl JointMethod for Bsa {
    fn name(&self) -> &'static str {
        "bsa"
    }

    fn describe(&self) -> String {
        format!("bsa({}, {} inner steps, {})", self.rates, self.inner_steps, self.series)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let Self { rates, inner_steps, series, truncation } = self;
        Ok(series.nested(k, at, *rates, *inner_steps, |at| series.truncated(at, truncation)))
    }

    fn save(&self, to: &mut Snapshot) {
        self.truncation.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Iterate<'_>) -> Result<(), Error> {
        self.truncation.restore(from)
    }
}
