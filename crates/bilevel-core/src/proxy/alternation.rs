//! What the proxy methods share: steps of theta, then a step of x through the response.

use std::fmt;

use bilevel_program::Vector;

use super::Response;
use super::perturbation::Perturbation;
use crate::error::at_least_one;
use crate::joint::Iterate;
use crate::{Error, Loss, LowerProblem, Objective, Rates, Sample, Samples, Wrt};

/// The settings of the alternation, and the random draws.
#[derive(Clone, Debug)]
pub(super) struct Alternation {
    pub rates: Rates,
    pub perturbation: Perturbation,
    training_steps: usize,
    warm_up: usize,
}

impl Alternation {
    pub fn new(rates: Rates, perturbation: Perturbation) -> Self {
        Self { rates, perturbation, training_steps: 1, warm_up: 0 }
    }

    pub fn set_training_steps(&mut self, steps: usize) -> Result<(), Error> {
        self.training_steps = at_least_one("training steps", steps)?;
        Ok(())
    }

    pub fn set_warm_up(&mut self, steps: usize) {
        self.warm_up = steps;
    }

    /// The lower batches to train on before x is moved.
    ///
    /// # Errors
    /// If y is kept in a set.
    pub fn lower_samples(&self, at: &mut Iterate<'_>) -> Result<Vec<Sample>, Error> {
        if at.lower_set.is_some() {
            return Err(Error::InvalidSetting {
                setting: "lower projection",
                found: "a set that y is kept in".into(),
                expected: "none with a proxy of the best response: its values do not stay in a set",
                cure: "write y as a function of a free variable",
            });
        }
        Ok((0..self.training_steps).map(|_| at.sampler.draw(Objective::Lower)).collect())
    }

    /// Nothing has settled before x is moved.
    pub fn rest(&self, k: usize) -> f64 {
        if k < self.warm_up { f64::INFINITY } else { 0.0 }
    }

    /// Moves x by the gradient of F through `response`: that gradient, and F.
    pub fn move_x(
        &mut self,
        k: usize,
        at: &mut Iterate<'_>,
        response: &dyn Response,
    ) -> (Loss, Vector) {
        let upper = at.sampler.draw(Objective::Upper);
        let samples = Samples { upper, ..Samples::default() };
        if k < self.warm_up {
            let loss = at.problem(samples).value(Objective::Upper, &response.respond(&at.x));
            return (loss, at.x.zeros_like());
        }
        // In a set of x the gradient at the projected point stands for that at x + eps.
        let eps = self.perturbation.is_learned().then(|| self.perturbation.draw(&at.x));
        let point = eps.as_ref().map_or_else(|| at.x.clone(), |e| at.project_upper(at.x.add(e)));
        let problem = LowerProblem::new(&at.oracle, &point, samples);
        let (loss, sides) =
            problem.gradient(Objective::Upper, &response.respond(&point), Wrt::Both);
        let (in_x, in_y) = sides.into_both();
        let along = in_x.add(&response.pull_to_x(&point, &in_y));
        if let Some(eps) = eps {
            self.perturbation.learn(k, &along, &eps);
        }
        at.move_x(self.rates.upper.at(k), &along);
        (loss, along)
    }
}

impl fmt::Display for Alternation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rates)?;
        if self.training_steps > 1 {
            write!(f, ", {} training steps", self.training_steps)?;
        }
        if self.warm_up > 0 {
            write!(f, ", warm-up {}", self.warm_up)?;
        }
        Ok(())
    }
}
