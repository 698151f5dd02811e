//! Momentum on both levels, with a batch for every factor of the series.

use super::NeumannSeries;
use super::double_momentum::DoubleMomentum;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Rates, Schedule, Snapshot};

/// `mrbo`: one step of each level at once, both with the momentum of STORM.
///
/// ```text
/// d_y = f_y(x, y; s) + (1 - g) (d_y - f_y(x_before, y_before; s)),   y' = Proj(y - b d_y)
/// d_x = D_x(x, y; t) + (1 - h) (d_x - D_x(x_before, y_before; t)),   x' = Proj(x - a d_x)
/// ```
///
/// [`Sustain`](super::Sustain) with the whole series for `D_x`. The first step has no past: its directions
/// are those of the samples.
///
/// Requires: f strongly convex in y; `b < 2 / L`; the weights g and h in (0, 1]. The source has a and b of
/// order `k^(-1/3)` and weights of order `k^(-2/3)`. Memory: x, y and both directions twice. Cost: two
/// gradients of f, two of F, `2 Q` products of f; half of it in the first step.
///
/// Source: J. Yang, K. Ji and Y. Liang, "Provably faster algorithms for bilevel optimization", 2021.
#[derive(Clone, Debug)]
pub struct Mrbo(DoubleMomentum);

impl Mrbo {
    /// With the step sizes `rates`, the weight of a new sample on both levels, `momentum`, and the
    /// hypergradient by `series`.
    ///
    /// # Errors
    /// If the weight is not in (0, 1] at the start.
    pub fn new(
        rates: Rates,
        momentum: impl Into<Schedule>,
        series: NeumannSeries,
    ) -> Result<Self, Error> {
        Ok(Self(DoubleMomentum::new(rates, momentum.into(), series)?))
    }

    /// With another weight g on the lower level.
    ///
    /// # Errors
    /// If it is not in (0, 1] at the start.
    pub fn with_lower_momentum(self, momentum: impl Into<Schedule>) -> Result<Self, Error> {
        Ok(Self(self.0.with_lower(momentum.into())?))
    }
}

impl JointMethod for Mrbo {
    fn name(&self) -> &'static str {
        "mrbo"
    }

    fn describe(&self) -> String {
        format!("mrbo({})", self.0)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let series = self.0.series;
        Ok(self.0.step(k, at, |at| series.whole(at)))
    }

    fn save(&self, to: &mut Snapshot) {
        self.0.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.0.restore(from, at)
    }
}
