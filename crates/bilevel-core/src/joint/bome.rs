//! The value function as a constraint, its multiplier in closed form.

use super::follow::Follow;
use super::{Iterate, JointMethod, Seen};
use crate::error::positive;
use crate::{Error, Objective, Rates, Schedule, Snapshot, Wrt};

/// `bome`: descent on F along which `q = f(x, y) - f(x, z)` decreases at a given rate, where z is the result of T steps
/// from y and then held fixed.
///
/// ```text
/// T times from z = y:  z' = z - c f_y(x, z)
/// q' = (f_x(x, y) - f_x(x, z), f_y(x, y)),   l = max(e - <F', q'> / norm(q')^2, 0)
/// (x, y)' = (x, y) - (b, a) (F' + l q')
/// ```
///
/// so that `<F' + l q', q'> >= e norm(q')^2`: the paper's control barrier `phi = e norm(q')^2`. Cost: one gradient of F
/// and T + 2 of f; four numbers are read from the device.
///
/// Source: M. Ye et al., "BOME! Bilevel optimization made easy: a simple first-order approach", 2022,
/// Eqs. 5 to 7.
#[derive(Clone, Copy, Debug)]
pub struct Bome {
    rates: Rates,
    follow: Follow,
    barrier: f64,
}

impl Bome {
    /// `steps` lower steps of z with the step size `follow`, and e = 1/2.
    ///
    /// # Errors
    /// If there are no steps, or a step size is not positive.
    pub fn new(rates: Rates, steps: usize, follow: impl Into<Schedule>) -> Result<Self, Error> {
        Ok(Self { rates, follow: Follow::new(steps, follow)?, barrier: 0.5 })
    }

    /// With another e.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_barrier(mut self, e: f64) -> Result<Self, Error> {
        self.barrier = positive("barrier", e)?;
        Ok(self)
    }
}

impl JointMethod for Bome {
    fn name(&self) -> &'static str {
        "bome"
    }

    fn describe(&self) -> String {
        format!("bome({}, {}, barrier {})", self.rates, self.follow, self.barrier)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let z = self.follow.run(k, at, at.y.clone());
        let samples = at.draw();
        let problem = at.problem(samples);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, Wrt::Both);
        let (lower_loss, lower) = problem.gradient(Objective::Lower, &at.y, Wrt::Both);
        let value = problem.gradient(Objective::Lower, &z, Wrt::X).1.into_x();
        let ((upper_x, upper_y), (lower_x, gap_y)) = (upper.into_both(), lower.into_both());
        let gap_x = lower_x.sub(&value);
        let square = gap_x.dot(&gap_x) + gap_y.dot(&gap_y);
        let along = upper_x.dot(&gap_x) + upper_y.dot(&gap_y);
        // At a lower solution the gap is closed.
        let multiplier = if square > 0.0 { (self.barrier - along / square).max(0.0) } else { 0.0 };
        let along_x = upper_x.axpy(multiplier, &gap_x);
        let along_y = upper_y.axpy(multiplier, &gap_y);
        at.move_x(self.rates.upper.at(k), &along_x);
        at.move_y(self.rates.lower.at(k), &along_y);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, _: &mut Snapshot) {}
}
