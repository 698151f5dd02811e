//! A regularised gap function of a constrained lower level as a penalty.

use bilevel_program::Vector;

use super::{Iterate, JointMethod, Seen};
use crate::constrained::Residual;
use crate::error::positive;
use crate::{Error, Objective, Rates, Samples, Schedule, Snapshot, Wrt};

/// `gap`: descent on `F / c + G`, G a doubly regularised gap function of the lower level `min_y f(x, y)` subject to
/// `h(x, y) <= 0`, by gradients only and in a single loop.
///
/// ```text
/// G = max over z, l >= 0 of  f(x, y) + l'h(x, y) - norm(l - n)^2 / (2 g2)
///                          - f(x, z) - n'h(x, z) - norm(z - y)^2 / (2 g1)
/// z' = z - e (f_y(x, z) + h_y(x, z)' n + (z - y) / g1),   l = max(n + g2 h(x, y), 0)
/// x' = x - b (F_x / c + f_x(x, y) + h_x(x, y)' l - f_x(x, z') - h_x(x, z')' n)
/// y' = y - a (F_y / c + f_y(x, y) + h_y(x, y)' l - (y - z') / g1)
/// n' = min(max(n - a ((l - n) / g2 - h(x, z')), 0), r)
/// ```
///
/// h are the lower constraints of the [problem](crate::BilevelProblem::constraints). n are their multipliers, at most
/// r; those of equalities may have either sign. G is 0 where y solves the lower level with the multipliers n, and
/// positive elsewhere. Without constraints this is [`Meha`](super::Meha) with all directions taken at the same point.
/// Memory: z and n. Cost: one gradient of F, three of f, three of h and one of its values.
///
/// Source: W. Yao et al., "Overcoming lower-level constraints in bilevel optimization: a novel approach
/// with regularized gap functions", 2025, Alg. 1 (BiC-GAFFA).
#[derive(Debug)]
pub struct Gap {
    rates: Rates,
    follow: Schedule,
    /// g1 and g2
    regularisation: (f64, f64),
    weight: Schedule,
    bound: f64,
    z: Option<Vector>,
    n: Vec<f64>,
}

impl Gap {
    /// With the step size e = `follow` of z, `regularisation` = (g1, g2) and c = `weight`.
    ///
    /// # Errors
    /// If one is not positive.
    pub fn new(
        rates: Rates,
        follow: impl Into<Schedule>,
        regularisation: (f64, f64),
        weight: impl Into<Schedule>,
    ) -> Result<Self, Error> {
        positive("regularisation of z", regularisation.0)?;
        positive("regularisation of the multipliers", regularisation.1)?;
        Ok(Self {
            rates,
            follow: follow.into().positive("step size of z")?,
            regularisation,
            weight: weight.into().positive("weight of the lower level")?,
            bound: f64::INFINITY,
            z: None,
            n: Vec::new(),
        })
    }

    /// With multipliers of at most r = `bound`; unbounded by default.
    ///
    /// # Errors
    /// If the bound is not finite and positive.
    pub fn with_bound(mut self, bound: f64) -> Result<Self, Error> {
        self.bound = positive("bound of the multipliers", bound)?;
        Ok(self)
    }
}

impl JointMethod for Gap {
    fn name(&self) -> &'static str {
        "gap"
    }

    fn describe(&self) -> String {
        let Self { rates, follow, regularisation: (g1, g2), weight, .. } = self;
        format!("gap({rates}, z by {follow}, regularisation {g1} and {g2}, weight {weight})")
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let (share, (g1, g2)) = (1.0 / self.weight.at(k), self.regularisation);
        let z = self.z.take().unwrap_or_else(|| at.y.clone());
        let samples = at.draw();
        let problem = at.problem(samples);
        let h = problem.constraints(Objective::Lower);
        let count = h.as_ref().map_or(0, |h| h.count());
        if self.n.is_empty() {
            self.n = vec![0.0; count];
        }
        let n = &self.n;
        // Multipliers of equalities may be negative.
        let bounds = count - h.as_ref().map_or(0, |h| h.equalities());
        let least = |j: usize, most: f64| if j < bounds { 0.0 } else { -most };

        let slope = problem.gradient(Objective::Lower, &z, Wrt::Y).1.into_y();
        let mut along_z = slope.axpy(1.0 / g1, &z.sub(&at.y));
        if let Some(h) = &h {
            along_z = along_z.add(&h.weighted(&at.x, &z, n).y);
        }
        let z = at.project_lower(z.axpy(-self.follow.at(k), &along_z));

        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, Wrt::Both);
        let (lower_loss, lower) = problem.gradient(Objective::Lower, &at.y, Wrt::Both);
        let value = problem.gradient(Objective::Lower, &z, Wrt::X).1.into_x();
        let ((upper_x, upper_y), (lower_x, lower_y)) = (upper.into_both(), lower.into_both());
        let mut along_x = lower_x.sub(&value).axpy(share, &upper_x);
        let mut along_y = lower_y.axpy(share, &upper_y).axpy(-1.0 / g1, &at.y.sub(&z));
        let mut moved = Vec::new();
        if let Some(h) = &h {
            let multipliers = |h: &[f64]| -> Vec<f64> {
                let moved = h.iter().zip(n).map(|(h, n)| n + g2 * h).enumerate();
                moved.map(|(j, l)| l.max(least(j, f64::INFINITY))).collect()
            };
            let here = h.pull_back(&at.x, &at.y, &mut { multipliers });
            here.check(k)?;
            let there = h.weighted(&at.x, &z, n);
            along_x = along_x.add(&here.x).sub(&there.x);
            along_y = along_y.add(&here.y);
            let rate = self.rates.lower.at(k);
            let pairs = n.iter().zip(multipliers(&here.values)).zip(&there.values);
            let step = |((n, l), h): ((&f64, f64), &f64)| n - rate * ((l - n) / g2 - h);
            let stepped = pairs.map(step).enumerate();
            moved = stepped.map(|(j, n)| n.clamp(least(j, self.bound), self.bound)).collect();
        }
        drop(h);
        at.move_x(self.rates.upper.at(k), &along_x);
        at.move_y(self.rates.lower.at(k), &along_y);
        (self.z, self.n) = (Some(z), moved);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn residual(&self, at: &Iterate<'_>) -> Residual {
        let problem = at.problem(Samples::default());
        match problem.constraints(Objective::Lower) {
            None => at.residual(),
            Some(_) => Residual::of_multipliers(problem, &at.y, &self.n),
        }
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_optional_vector("z", self.z.as_ref());
        to.put_list("n", &self.n);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.z = from.take_optional_vector("z", &at.y)?;
        let lower = at.problem(Samples::default()).constraints(Objective::Lower);
        self.n = from.take_list_of("n", lower.map_or(0, |lower| lower.count()))?;
        Ok(())
    }
}
