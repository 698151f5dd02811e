//! Momentum on both levels, with a series of random length.

use super::NeumannSeries;
use super::double_momentum::DoubleMomentum;
use super::series::Truncation;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Rates, Schedule, Snapshot};

/// `sustain`: one step of each level at once, both with the momentum of STORM.
///
/// ```text
/// d_y = f_y(x, y; s) + (1 - g) (d_y - f_y(x_before, y_before; s)),   y' = Proj(y - b d_y)
/// d_x = D_x(x, y; t) + (1 - h) (d_x - D_x(x_before, y_before; t)),   x' = Proj(x - a d_x)
/// ```
///
/// `D_x` is the truncated series, with the same batches and the same length at both points. The first step
/// has no past: its directions are those of the samples.
///
/// Requires: f strongly convex in y; `b < 2 / L`; the weights g and h in (0, 1]. The source has a and b of order
/// `k^(-1/3)` and weights of order `k^(-2/3)`. Memory: x, y and both directions twice. Cost: two gradients of f, two of
/// F, `2 (p + 1)` products of f, p drawn uniformly from 0 to `Q - 1`; half of it in the first step.
///
/// Source: P. Khanduri et al., "A near-optimal algorithm for stochastic bilevel optimization via
/// double-momentum", 2021.
#[derive(Clone, Debug)]
pub struct Sustain {
    double: DoubleMomentum,
    truncation: Truncation,
}

impl Sustain {
    /// With the step sizes `rates`, the weight of a new sample on both levels, `momentum`, and the hypergradient by
    /// `series`, truncated with the seed 0.
    ///
    /// # Errors
    /// If the weight is not in (0, 1] at the start.
    pub fn new(
        rates: Rates,
        momentum: impl Into<Schedule>,
        series: NeumannSeries,
    ) -> Result<Self, Error> {
        let double = DoubleMomentum::new(rates, momentum.into(), series)?;
        Ok(Self { double, truncation: Truncation::new(0) })
    }

    /// With another weight g on the lower level.
    ///
    /// # Errors
    /// If it is not in (0, 1] at the start.
    pub fn with_lower_momentum(mut self, momentum: impl Into<Schedule>) -> Result<Self, Error> {
        self.double = self.double.with_lower(momentum.into())?;
        Ok(self)
    }

    /// With another seed for the numbers of factors.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.truncation = Truncation::new(seed);
        self
    }
}

impl JointMethod for Sustain {
    fn name(&self) -> &'static str {
        "sustain"
    }

    fn describe(&self) -> String {
        format!("sustain({})", self.double)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let (series, truncation) = (self.double.series, &mut self.truncation);
        Ok(self.double.step(k, at, |at| series.truncated(at, truncation)))
    }

    fn save(&self, to: &mut Snapshot) {
        self.double.save(to);
        self.truncation.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.double.restore(from, at)?;
        self.truncation.restore(from)
    }
}
