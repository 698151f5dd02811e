//! The value function as a penalty, both minimisers tracked.

use bilevel_program::Vector;

use super::follow::Follow;
use super::{Iterate, JointMethod, Seen};
use crate::{Error, Objective, Rates, Schedule, Snapshot, Wrt};

/// `f2sa`: descent on `L = F + l (f(x, y) - min_z f(x, z))` by gradients only, with a growing multiplier l.
///
/// ```text
/// T times:  z' = z - c f_y(x, z),   y' = y - a (F_y(x, y) + l f_y(x, y))
/// x' = x - b (F_x(x, y') + l (f_x(x, y') - f_x(x, z')))
/// ```
///
/// Its limit at a constant l is off by the order of 1 / l; the step of y must shrink as l grows,
/// `a l < 2 / L`. Memory: z. Cost: T + 1 gradients of F and 2 T + 2 of f.
///
/// Source: J. Kwon et al., "A fully first-order method for stochastic bilevel optimization", 2023, Alg. 1.
#[derive(Clone, Debug)]
pub struct F2sa {
    rates: Rates,
    follow: Follow,
    multiplier: Schedule,
    z: Option<Vector>,
}

impl F2sa {
    /// `steps` lower steps of y and of z, with the step sizes `rates` of x and y and `follow` of z.
    ///
    /// # Errors
    /// If there are no steps, or a step size or the multiplier is not positive.
    pub fn new(
        rates: Rates,
        steps: usize,
        follow: impl Into<Schedule>,
        multiplier: impl Into<Schedule>,
    ) -> Result<Self, Error> {
        let multiplier = multiplier.into().positive("multiplier")?;
        Ok(Self { rates, follow: Follow::new(steps, follow)?, multiplier, z: None })
    }
}

impl JointMethod for F2sa {
    fn name(&self) -> &'static str {
        "f2sa"
    }

    fn describe(&self) -> String {
        format!("f2sa({}, {}, multiplier {})", self.rates, self.follow, self.multiplier)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let multiplier = self.multiplier.at(k);
        let mut z = self.z.take().unwrap_or_else(|| at.y.clone());
        let mut along_y = None;
        for _ in 0..self.follow.steps {
            z = self.follow.step(k, at, &z);
            let samples = at.draw();
            let problem = at.problem(samples);
            let upper = problem.gradient(Objective::Upper, &at.y, Wrt::Y).1.into_y();
            let lower = problem.gradient(Objective::Lower, &at.y, Wrt::Y).1.into_y();
            let along = upper.axpy(multiplier, &lower);
            at.move_y(self.rates.lower.at(k), &along);
            along_y = Some(along);
        }
        let samples = at.draw();
        let problem = at.problem(samples);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, Wrt::X);
        let (lower_loss, lower) = problem.gradient(Objective::Lower, &at.y, Wrt::X);
        let value = problem.gradient(Objective::Lower, &z, Wrt::X).1.into_x();
        let along_x = upper.into_x().axpy(multiplier, &lower.into_x().sub(&value));
        at.move_x(self.rates.upper.at(k), &along_x);
        self.z = Some(z);
        let along_y = along_y.unwrap_or_else(|| at.y.zeros_like());
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_optional_vector("z", self.z.as_ref());
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.z = from.take_optional_vector("z", &at.y)?;
        Ok(())
    }
}
