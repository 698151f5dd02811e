//! Gradient methods on the squared residual.

use super::{Best, Limits, LinearSolver, LinearStatus, Solution, Structure, System};
use crate::error::{not_negative, positive};
use crate::{Error, Moments};

/// `approx-grad`: gradient descent or Adam on `norm((A + d I) q - b)^2 / 2`.
///
/// ```text
/// r = b - A q,   q' = q + rho A r    or    q' = adam(q, -A r)
/// ```
///
/// Requires `A` symmetric; it may be indefinite or singular. Gradient descent converges for `rho < 2 / L^2`, L the
/// largest absolute eigenvalue, at a rate given by the square of the condition number, and ends with
/// [`LinearStatus::Diverged`] otherwise. Adam ends within about `rho sqrt(n)` of the solution. The q with the smallest
/// residual is returned. Cost: 2 products per iteration. The residual is computed anew at each.
///
/// Source: A. Mehra and J. Hamm, "Penalty method for inversion-free deep bilevel optimization", 2021,
/// Table 1 and section 3.1; D. P. Kingma and J. Ba, "Adam", 2015, for its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ApproxGrad {
    rule: Rule,
    step_size: f64,
    limits: Limits,
    damping: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Gd,
    Adam,
}

impl ApproxGrad {
    /// By gradient descent with the step size `rho`, at most `iterations` steps, until
    /// `norm(b - A q) <= tolerance norm(b)`.
    ///
    /// # Errors
    /// If `iterations` is 0, or `step_size` or `tolerance` not finite and positive.
    pub fn gd(step_size: f64, iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Self::new(Rule::Gd, step_size, Limits::new(iterations, tolerance)?)
    }

    /// By Adam with the step size `rho`, as [`ApproxGrad::gd`].
    ///
    /// # Errors
    /// As [`ApproxGrad::gd`].
    pub fn adam(step_size: f64, iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Self::new(Rule::Adam, step_size, Limits::new(iterations, tolerance)?)
    }

    fn new(rule: Rule, step_size: f64, limits: Limits) -> Result<Self, Error> {
        let step_size = positive("approx-grad step size", step_size)?;
        Ok(Self { rule, step_size, limits, damping: 0.0 })
    }

    /// With the damping `d`.
    ///
    /// # Errors
    /// If `d` is negative or not finite.
    pub fn with_damping(mut self, damping: f64) -> Result<Self, Error> {
        self.damping = not_negative("approx-grad damping", damping)?;
        Ok(self)
    }
}

impl LinearSolver for ApproxGrad {
    fn name(&self) -> &'static str {
        "approx-grad"
    }

    fn describe(&self) -> String {
        let rule = match self.rule {
            Rule::Gd => "gd",
            Rule::Adam => "adam",
        };
        let Self { step_size, limits, damping, .. } = self;
        format!("approx-grad({rule}, step size {step_size}, {limits}, damping {damping})")
    }

    fn check(&self, structure: Structure, _: usize) -> Result<(), Error> {
        structure.require_symmetric("approx-grad")
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let limits = self.limits.of(system);
        let a = system.operator();
        let (mut q, mut r) = system.start(self.damping);
        let mut best = Best::new(&q, r.norm() / system.norm());
        let mut adam = Moments::default();
        let mut k = 0;
        loop {
            let residual = r.norm() / system.norm();
            let grows = best.see(&q, residual);
            // Adam's steps are bounded: it oscillates, but never diverges.
            if grows && self.rule == Rule::Gd {
                return best.end(LinearStatus::Diverged);
            }
            if let Some(status) = limits.end(k, residual) {
                return best.end(status);
            }
            let ascent = a.apply_damped(&r, self.damping);
            let step = match self.rule {
                Rule::Gd => ascent,
                Rule::Adam => adam.rescale(&ascent),
            };
            q = q.axpy(self.step_size, &step);
            r = system.rhs().sub(&a.apply_damped(&q, self.damping));
            k += 1;
        }
    }
}
