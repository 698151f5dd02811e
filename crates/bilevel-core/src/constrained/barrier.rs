//! A barrier that extends beyond the feasible set.

use super::terms::Terms;
use crate::Constraints;

/// The smoothed logarithmic barrier of inequalities, with its expansion to second order from `g = -mu` on, and a
/// quadratic term for equalities:
///
/// ```text
/// b(g) = -mu ln(-g)                                     where g <= -mu
///        -mu ln(mu) + (g + mu) + (g + mu)^2 / (2 mu)    elsewhere,        b(h) = h^2 / (2 mu)
/// ```
///
/// Twice continuously differentiable, convex and finite everywhere, so that no start needs to be feasible. At the
/// minimum of f with these terms their slopes are multipliers, `mu / -g` or `2 + g / mu`, and `h / mu`: if one is above
/// 2, its constraint is violated by mu times the excess.
///
/// Source: A. Ben-Tal and M. Zibulevsky, "Penalty/barrier multiplier methods for convex programming problems", 1997.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SmoothBarrier {
    mu: f64,
    /// How many constraints are inequalities; these come first.
    inequalities: usize,
}

impl SmoothBarrier {
    /// Of `constraints`.
    pub fn new(mu: f64, constraints: &dyn Constraints) -> Self {
        Self { mu, inequalities: constraints.count() - constraints.equalities() }
    }

    /// `of_bound` for each inequality, `of_equality` for each equality.
    fn each(
        &self,
        constraints: &[f64],
        of_bound: impl Fn(f64) -> f64,
        of_equality: impl Fn(f64) -> f64,
    ) -> Vec<f64> {
        let (g, h) = constraints.split_at(self.inequalities);
        g.iter().map(|g| of_bound(*g)).chain(h.iter().map(|h| of_equality(*h))).collect()
    }
}

impl Terms for SmoothBarrier {
    fn sum(&self, constraints: &[f64]) -> f64 {
        let mu = self.mu;
        let of_bound = |g: f64| {
            let over = g + mu;
            let outside = -mu * mu.ln() + over + over * over / (2.0 * mu);
            if g <= -mu { -mu * (-g).ln() } else { outside }
        };
        self.each(constraints, of_bound, |h| h * h / (2.0 * mu)).iter().sum()
    }

    fn slopes(&self, constraints: &[f64]) -> Vec<f64> {
        let mu = self.mu;
        let of_bound = |g: f64| if g <= -mu { -mu / g } else { 2.0 + g / mu };
        self.each(constraints, of_bound, |h| h / mu)
    }

    fn curvatures(&self, constraints: &[f64]) -> Vec<f64> {
        let mu = self.mu;
        let of_bound = |g: f64| if g <= -mu { mu / (g * g) } else { 1.0 / mu };
        self.each(constraints, of_bound, |_| 1.0 / mu)
    }
}
