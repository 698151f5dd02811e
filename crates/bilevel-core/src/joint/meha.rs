//! The Moreau envelope of the lower level as a penalty.

use bilevel_program::Vector;

use super::{Iterate, JointMethod, Seen};
use crate::error::positive;
use crate::{Error, Objective, Rates, Schedule, Snapshot, Wrt};

/// `meha`: descent on `F / c + f - v`, v the Moreau envelope `min_z f(x, z) + norm(z - y)^2 / (2 g)` of f,
/// in a single loop; f need not be convex in y.
///
/// ```text
/// z' = Proj(z - e (f_y(x, z) + (z - y) / g))
/// x' = Proj(x - b (F_x(x, y) / c + f_x(x, y) - f_x(x, z')))
/// y' = Proj(y - a (F_y(x', y) / c + f_y(x', y) - (y - z') / g))
/// ```
///
/// The weight c of the lower level grows from step to step, in the paper as `c (k + 1)^p` with p below 1/2
/// ([`Schedule::power`] with the exponent -p). Memory: z. Cost: two gradients of F and four of f.
///
/// Source: R. Liu et al., "Moreau envelope for nonconvex bi-level optimization: a single-loop and
/// Hessian-free solution strategy", 2024, Alg. 1.
#[derive(Clone, Debug)]
pub struct Meha {
    rates: Rates,
    follow: Schedule,
    envelope: f64,
    weight: Schedule,
    z: Option<Vector>,
}

impl Meha {
    /// With the step size e = `follow` of z, g = `envelope` and c = `weight`.
    ///
    /// # Errors
    /// If one is not positive.
    pub fn new(
        rates: Rates,
        follow: impl Into<Schedule>,
        envelope: f64,
        weight: impl Into<Schedule>,
    ) -> Result<Self, Error> {
        Ok(Self {
            rates,
            follow: follow.into().positive("step size of z")?,
            envelope: positive("parameter of the envelope", envelope)?,
            weight: weight.into().positive("weight of the lower level")?,
            z: None,
        })
    }
}

impl JointMethod for Meha {
    fn name(&self) -> &'static str {
        "meha"
    }

    fn describe(&self) -> String {
        let Self { rates, follow, envelope, weight, .. } = self;
        format!("meha({rates}, z by {follow}, envelope {envelope}, weight {weight})")
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let (pull, share) = (1.0 / self.envelope, 1.0 / self.weight.at(k));
        let z = self.z.take().unwrap_or_else(|| at.y.clone());
        let samples = at.draw();
        let problem = at.problem(samples);
        let slope = problem.gradient(Objective::Lower, &z, Wrt::Y).1.into_y();
        let along_z = slope.axpy(pull, &z.sub(&at.y));
        let z = at.project_lower(z.axpy(-self.follow.at(k), &along_z));

        let upper = problem.gradient(Objective::Upper, &at.y, Wrt::X).1.into_x();
        let lower = problem.gradient(Objective::Lower, &at.y, Wrt::X).1.into_x();
        let value = problem.gradient(Objective::Lower, &z, Wrt::X).1.into_x();
        let along_x = lower.sub(&value).axpy(share, &upper);
        at.move_x(self.rates.upper.at(k), &along_x);

        let problem = at.problem(samples);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &at.y, Wrt::Y);
        let (lower_loss, lower) = problem.gradient(Objective::Lower, &at.y, Wrt::Y);
        let along_y = lower.into_y().axpy(share, &upper.into_y()).axpy(-pull, &at.y.sub(&z));
        at.move_y(self.rates.lower.at(k), &along_y);
        self.z = Some(z);
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
