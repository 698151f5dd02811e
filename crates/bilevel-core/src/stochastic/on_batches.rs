//! A hypergradient method on batches.

use super::estimates::descend;
use crate::error::at_least_one;
use crate::hypergradient::{HypergradientMethod, Status};
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Rates, Samples, Snapshot};

/// `on-batches`: y is trained on fresh batches, and the hypergradient there is taken on one batch of each level.
///
/// ```text
/// T times: y' = Proj(y - b f_y(x, y; s))     an s each
/// (y'', D_x) = the hypergradient method from y' on one s and one t
/// x' = Proj(x - a D_x)
/// ```
///
/// A [`HypergradientSolver`](crate::HypergradientSolver) descends on one batch all the way to the hypergradient: on
/// small batches y then overfits each of them in turn. Here the descent of the method itself may be short: one step for
/// [`Implicit`](crate::Implicit), which needs y near a minimum and not a path to it. Gives what the method gives, at a
/// y that has seen all data, and the method's status. Cost: T gradients of f and that of the method. The reported
/// direction of y is that of the last training step.
///
/// Source: A. Mehra and J. Hamm, "Penalty method for inversion-free deep bilevel optimization", 2021, whose ApproxGrad
/// is trained in this way; with a warm-started linear solver it is the scheme of [`Amigo`](crate::Amigo).
#[derive(Debug)]
pub struct OnBatches {
    method: Box<dyn HypergradientMethod>,
    rates: Rates,
    training_steps: usize,
    status: Status,
}

impl OnBatches {
    /// `method` after T `training_steps` of y each time, with the step sizes `rates` of x and of the training.
    ///
    /// # Errors
    /// If `training_steps` is 0.
    pub fn new(
        method: impl HypergradientMethod + 'static,
        rates: Rates,
        training_steps: usize,
    ) -> Result<Self, Error> {
        let training_steps = at_least_one("training steps", training_steps)?;
        let status = Status::Approximate;
        Ok(Self { method: Box::new(method), rates, training_steps, status })
    }
}

impl JointMethod for OnBatches {
    fn name(&self) -> &'static str {
        "on-batches"
    }

    fn describe(&self) -> String {
        let Self { method, rates, training_steps, .. } = self;
        format!("on-batches({}, {rates}, {training_steps} training steps)", method.describe())
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let (lower_loss, along_y) = descend(at, self.rates.lower.at(k), self.training_steps);
        let samples = Samples { index: k as u64, ..at.draw() };
        let found = self.method.hypergradient(at.problem(samples), &at.y)?;
        // y was trained before: where the method's own descent began is irrelevant.
        self.status = match found.status {
            Status::Implicit { solver, residual, stationarity, .. } => {
                Status::Implicit { solver, residual, stationarity, relative: None }
            }
            status => status,
        };
        at.y = at.project_lower(found.lower);
        at.move_x(self.rates.upper.at(k), &found.gradient);
        let upper_loss = found.upper_loss;
        Ok(Seen { upper_loss, lower_loss, along_x: found.gradient, along_y, rest: 0.0 })
    }

    fn status(&self) -> Status {
        self.status
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_within("method", |to| self.method.save(to));
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        from.take_within("method", |from| self.method.restore(from, &at.x, &at.y))
    }
}
