//! Two time scales.

use super::NeumannSeries;
use super::series::Truncation;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Rates, Snapshot};

/// `ttsa`: one step of each level, y on the faster time scale.
///
/// ```text
/// y' = Proj(y - b f_y(x, y; s)),   x' = Proj(x - a D_x),   D_x the truncated series at (x, y')
/// ```
///
/// Its noise decreases only with the step sizes: `a = a_0 / (k + 1)^(3/5)`, `b = b_0 / (k + 1)^(2/5)` are the source's
/// for an F that is not convex; with constant ones it ends in a ball around the solution.
///
/// Requires: f strongly convex in y; `b < 2 / L`; a that decreases faster than b. The source lets Q grow with `log k`;
/// here it is constant. Memory: x and y. Cost: one gradient of f, one of F, `p + 1` products of f, p drawn uniformly
/// from 0 to `Q - 1`.
///
/// Source: M. Hong, H.-T. Wai, Z. Wang and Z. Yang, "A two-timescale framework for bilevel optimization:
/// complexity analysis and application to actor-critic", 2020.
#[derive(Clone, Debug)]
pub struct Ttsa {
    rates: Rates,
    series: NeumannSeries,
    truncation: Truncation,
}

impl Ttsa {
    /// With the step sizes `rates` and the hypergradient by `series`, truncated with the seed 0.
    pub fn new(rates: Rates, series: NeumannSeries) -> Self {
        Self { rates, series, truncation: Truncation::new(0) }
    }

    /// With another seed for the numbers of factors.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.truncation = Truncation::new(seed);
        self
    }
}

impl JointMethod for Ttsa {
    fn name(&self) -> &'static str {
        "ttsa"
    }

    fn describe(&self) -> String {
        format!("ttsa({}, {})", self.rates, self.series)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let Self { rates, series, truncation } = self;
        Ok(series.nested(k, at, *rates, 1, |at| series.truncated(at, truncation)))
    }

    fn save(&self, to: &mut Snapshot) {
        self.truncation.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Iterate<'_>) -> Result<(), Error> {
        self.truncation.restore(from)
    }
}
