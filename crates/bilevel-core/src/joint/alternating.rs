//! Both levels, each ignoring the other.

use super::{Iterate, JointMethod, Seen};
use crate::{Error, Objective, Rates, Snapshot, Wrt};

/// `alternating`: gradient descent on both levels in turn, the baseline that a bilevel method must beat.
///
/// ```text
/// x' = x - b F_x(x, y),  y' = y - a f_y(x', y)
/// ```
///
/// Its fixed points are those of a game, not of the bilevel problem, and where F does not depend on x it
/// never moves x. Cost: one gradient of F and one of f.
///
/// Source: [penalty method, Section 3.1](https://arxiv.org/abs/1911.03432).
#[derive(Clone, Copy, Debug)]
pub struct Alternating {
    rates: Rates,
}

impl Alternating {
    /// With the step sizes `rates`.
    pub fn new(rates: Rates) -> Self {
        Self { rates }
    }
}

impl JointMethod for Alternating {
    fn name(&self) -> &'static str {
        "alternating"
    }

    fn describe(&self) -> String {
        format!("alternating({})", self.rates)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let samples = at.draw();
        let (upper_loss, sides) = at.problem(samples).gradient(Objective::Upper, &at.y, Wrt::X);
        let along_x = sides.into_x();
        at.move_x(self.rates.upper.at(k), &along_x);
        let (lower_loss, sides) = at.problem(samples).gradient(Objective::Lower, &at.y, Wrt::Y);
        let along_y = sides.into_y();
        at.move_y(self.rates.lower.at(k), &along_y);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, _: &mut Snapshot) {}
}
