//! The stochastic bilevel optimizer.

use super::NeumannSeries;
use crate::error::at_least_one;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Rates, Snapshot};

/// `stocbio`: T steps of y, then one of x by a series with a batch for every factor.
///
/// ```text
/// T times: y' = Proj(y - b f_y(x, y; s)),   x' = Proj(x - a D_x),   D_x the whole series at (x, y')
/// ```
///
/// y starts at its last value. The source counts the factors, `Q - 1` here, and gives later factors smaller batches;
/// here all batches have the sampler's size.
///
/// Requires: f strongly convex in y; `b < 2 / L`. Memory: x and y. Cost: T gradients of f, one of F, Q
/// products of f.
///
/// Source: K. Ji, J. Yang and Y. Liang, "Bilevel optimization: convergence analysis and enhanced design",
/// 2021.
#[derive(Clone, Debug)]
pub struct StocBio {
    rates: Rates,
    inner_steps: usize,
    series: NeumannSeries,
}

impl StocBio {
    /// With the step sizes `rates`, T `inner_steps` and the hypergradient by `series`.
    ///
    /// # Errors
    /// If `inner_steps` is 0.
    pub fn new(rates: Rates, inner_steps: usize, series: NeumannSeries) -> Result<Self, Error> {
        Ok(Self { rates, inner_steps: at_least_one("inner steps", inner_steps)?, series })
    }
}

impl JointMethod for StocBio {
    fn name(&self) -> &'static str {
        "stocbio"
    }

    fn describe(&self) -> String {
        format!("stocbio({}, {} inner steps, {})", self.rates, self.inner_steps, self.series)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let Self { rates, inner_steps, series } = self;
        Ok(series.nested(k, at, *rates, *inner_steps, |at| series.whole(at)))
    }

    fn save(&self, _: &mut Snapshot) {}
}
