//! Momentum on both levels: what `sustain` and `mrbo` share.

use bilevel_program::Vector;

use super::NeumannSeries;
use super::estimates::{At, corrected, momentum, weight};
use super::series::Draw;
use crate::joint::{Iterate, Seen};
use crate::{Error, Objective, Rates, Schedule, Snapshot};

/// STORM on `f_y` and on the hypergradient, both moved at once.
#[derive(Clone, Debug)]
pub(super) struct DoubleMomentum {
    rates: Rates,
    upper: Schedule,
    lower: Schedule,
    pub series: NeumannSeries,
    before: Option<Before>,
}

/// The last step: where it was taken, and its directions.
#[derive(Clone, Debug)]
struct Before {
    x: Vector,
    y: Vector,
    /// `[d_y, d_x]`
    along: [Vector; 2],
}

impl DoubleMomentum {
    pub fn new(rates: Rates, both: Schedule, series: NeumannSeries) -> Result<Self, Error> {
        let both = momentum(both)?;
        Ok(Self { rates, upper: both, lower: both, series, before: None })
    }

    pub fn with_lower(mut self, schedule: Schedule) -> Result<Self, Error> {
        self.lower = momentum(schedule)?;
        Ok(self)
    }

    pub fn step(
        &mut self,
        k: usize,
        at: &mut Iterate<'_>,
        draw: impl FnOnce(&mut Iterate<'_>) -> Draw,
    ) -> Seen {
        let sample = [at.sampler.draw(Objective::Lower)];
        let draw = draw(at);
        let now = At::now(at);
        let (lower_loss, along_y) = now.slope(&sample);
        let (upper_loss, along_x) = self.series.hypergradient(&now, &draw);
        let mut along = [along_y, along_x];
        if let Some(before) = &self.before {
            let then = At { oracle: &at.oracle, x: &before.x, y: &before.y };
            let old = [then.slope(&sample).1, self.series.hypergradient(&then, &draw).1];
            let weights = [weight(self.lower, k), weight(self.upper, k)];
            along = corrected(weights, &before.along, &along, &old);
        }
        let [along_y, along_x] = along.clone();
        self.before = Some(Before { x: at.x.clone(), y: at.y.clone(), along });
        at.move_y(self.rates.lower.at(k), &along_y);
        at.move_x(self.rates.upper.at(k), &along_x);
        Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 }
    }

    pub fn save(&self, to: &mut Snapshot) {
        if let Some(Before { x, y, along: [along_y, along_x] }) = &self.before {
            to.put_vectors("before", [x, y, along_y, along_x]);
        }
    }

    pub fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.before = None;
        if from.has("before") {
            let like = [&at.x, &at.y, &at.y, &at.x];
            let [x, y, along_y, along_x] = from.take_array("before", like)?;
            self.before = Some(Before { x, y, along: [along_y, along_x] });
        }
        Ok(())
    }
}

impl std::fmt::Display for DoubleMomentum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rates, upper, lower, series, .. } = self;
        write!(f, "{rates}, momentum {upper} and {lower}, {series}")
    }
}
