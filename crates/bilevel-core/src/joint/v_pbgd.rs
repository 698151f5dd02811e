//! The value gap as a penalty.

use super::follow::Follow;
use super::{Iterate, JointMethod, Seen};
use crate::{Error, Objective, Rates, Schedule, Snapshot, Wrt};

/// `v-pbgd`: projected gradient descent on `F + g (f(x, y) - min_z f(x, z))`.
///
/// ```text
/// T times from z = y:  z' = Proj(z - c f_y(x, z))
/// x' = Proj(x - b (F_x + g (f_x(x, y) - f_x(x, z))))
/// y' = Proj(y - a (F_y + g f_y(x, y)))
/// ```
///
/// Its limit at a constant penalty g is off by the order of 1 / g. Requires `a g < 2 / L`, and that f satisfies the
/// Polyak-Lojasiewicz inequality in y, which non-convex losses may. Cost: one gradient of F and T + 2 of f.
///
/// Source: H. Shen and T. Chen, "On penalty-based bilevel gradient descent method", 2023, Alg. 1.
#[derive(Clone, Copy, Debug)]
pub struct VPbgd {
    rates: Rates,
    follow: Follow,
    penalty: Schedule,
}

impl VPbgd {
    /// `steps` lower steps of z with the step size `follow`.
    ///
    /// # Errors
    /// If there are no steps, or a step size or the penalty is not positive.
    pub fn new(
        rates: Rates,
        steps: usize,
        follow: impl Into<Schedule>,
        penalty: impl Into<Schedule>,
    ) -> Result<Self, Error> {
        let penalty = penalty.into().positive("penalty")?;
        Ok(Self { rates, follow: Follow::new(steps, follow)?, penalty })
    }
}

impl JointMethod for VPbgd {
    fn name(&self) -> &'static str {
        "v-pbgd"
    }

    fn describe(&self) -> String {
        format!("v-pbgd({}, {}, penalty {})", self.rates, self.follow, self.penalty)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let z = self.follow.run(k, at, at.y.clone());
        let penalty = self.penalty.at(k);
        let samples = at.draw();
        let problem = at.problem(samples);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, Wrt::Both);
        let (lower_loss, lower) = problem.gradient(Objective::Lower, &at.y, Wrt::Both);
        let value = problem.gradient(Objective::Lower, &z, Wrt::X).1.into_x();
        let ((upper_x, upper_y), (lower_x, lower_y)) = (upper.into_both(), lower.into_both());
        let along_x = upper_x.axpy(penalty, &lower_x.sub(&value));
        let along_y = upper_y.axpy(penalty, &lower_y);
        at.move_x(self.rates.upper.at(k), &along_x);
        at.move_y(self.rates.lower.at(k), &along_y);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, _: &mut Snapshot) {}
}
