//! Both inner problems, warm-started.

use super::estimates::{At, Auxiliary, descend};
use crate::error::at_least_one;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Objective, Rates, Schedule, Snapshot};

/// `amigo`: T steps of y, N of v, then one of x; y and v start at their last values.
///
/// ```text
/// T times: y' = Proj(y - b f_y(x, y; s))
/// N times: v' = v - c (f_yy(x, y'; s) v + F_y(x, y'; t))     one t, an s each
/// x' = Proj(x - a D_x),   D_x = F_x(x, y'; t) + f_xy(x, y'; s)' v'
/// ```
///
/// Requires: f strongly convex in y; b and c below `2 / L`. Memory: x, y and v. Cost: T gradients of f, one
/// of F, `N + 1` products of f.
///
/// Source: M. Arbel and J. Mairal, "Amortized implicit differentiation for stochastic bilevel
/// optimization", 2022.
#[derive(Clone, Debug)]
pub struct Amigo {
    auxiliary: Auxiliary,
    inner_steps: usize,
    system_steps: usize,
}

impl Amigo {
    /// With the step sizes `rates`, T `inner_steps` and N `system_steps`.
    ///
    /// # Errors
    /// If a number of steps is 0.
    pub fn new(rates: Rates, inner_steps: usize, system_steps: usize) -> Result<Self, Error> {
        Ok(Self {
            auxiliary: Auxiliary::new(rates),
            inner_steps: at_least_one("inner steps", inner_steps)?,
            system_steps: at_least_one("system steps", system_steps)?,
        })
    }

    /// With the step size c of v, by default that of y.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_system_rate(mut self, rate: impl Into<Schedule>) -> Result<Self, Error> {
        self.auxiliary = self.auxiliary.with_rate(rate.into())?;
        Ok(self)
    }
}

impl JointMethod for Amigo {
    fn name(&self) -> &'static str {
        "amigo"
    }

    fn describe(&self) -> String {
        let Self { auxiliary, inner_steps, system_steps } = self;
        format!("amigo({auxiliary}, {inner_steps} inner steps, {system_steps} system steps)")
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let rates = self.auxiliary.rates;
        let (lower_loss, along_y) = descend(at, rates.lower.at(k), self.inner_steps);
        let upper = [at.sampler.draw(Objective::Upper)];
        let (upper_loss, [slope, along_x]) = At::now(at).upper(&upper);
        let mut rest = None;
        for _ in 0..self.system_steps {
            let sample = [at.sampler.draw(Objective::Lower)];
            let v = self.auxiliary.v(at);
            let along_v = At::now(at).hessian(&v, &sample).add(&slope);
            self.auxiliary.move_v(k, &v, &along_v);
            rest = Some(along_v);
        }
        let sample = [at.sampler.draw(Objective::Lower)];
        let along_x = along_x.add(&At::now(at).cross(&self.auxiliary.v(at), &sample));
        at.move_x(rates.upper.at(k), &along_x);
        // Only the last norm: each one waits for the device.
        let rest = rest.map_or(0.0, |along_v| along_v.norm());
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest })
    }

    fn save(&self, to: &mut Snapshot) {
        self.auxiliary.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.auxiliary.restore(from, at)
    }
}
