//! An oracle whose data is collected with the policy x.

use std::sync::{Arc, Mutex, PoisonError};

use bilevel_core::{
    AutodiffOracle, Data, Direction, Linearization, Loss, Objective, Oracle, Partials, Point,
    Sample, Wrt, forward_oracle,
};
use bilevel_data::{Purpose, stream};
use bilevel_models::SoftmaxRegression;
use bilevel_program::Vector;
use burn::tensor::Device;

use super::episodes::{Balancing, Transitions, collect};
use crate::error::BenchError;

/// The current transitions, and the policy and the handle for which they were collected.
#[derive(Clone)]
struct Current(Arc<Mutex<(Option<Of>, Transitions)>>);

/// A policy and a handle.
type Of = (Vec<f64>, Sample);

impl Data<Transitions> for Current {
    fn batch(&self, _: Objective, _: Sample) -> Transitions {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// The losses at x on transitions collected with x: the same for the same x and handle.
pub struct OnPolicy {
    oracle: AutodiffOracle<Balancing, Current>,
    current: Current,
    /// Environments and steps.
    size: (usize, usize),
    seed: u64,
    device: Device,
}

impl OnPolicy {
    /// The problem from a policy and a critic.
    ///
    /// # Errors
    /// If a loss cannot be recorded.
    pub fn new(
        policy: &SoftmaxRegression,
        critic: &SoftmaxRegression,
        size: (usize, usize),
        seed: u64,
        device: Device,
    ) -> Result<Self, BenchError> {
        let first = collect(policy, size, &mut stream(seed, Purpose::Draws), &device);
        let current = Current(Arc::new(Mutex::new((None, first))));
        let oracle = AutodiffOracle::new(Balancing, policy, critic, current.clone())?;
        Ok(Self { oracle, current, size, seed, device })
    }

    /// x and y at the start.
    pub fn start(&self) -> (Vector, Vector) {
        (self.oracle.upper_start(), self.oracle.lower_start())
    }

    /// x as a policy.
    pub fn policy(&self, x: &Vector) -> SoftmaxRegression {
        self.oracle.upper_module(x)
    }

    /// Collects the transitions for a point, unless they are current.
    fn at<'a>(&'a self, at: Point<'_>) -> &'a AutodiffOracle<Balancing, Current> {
        let key = Some((at.x.to_vec(), at.sample));
        let mut current = self.current.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != key {
            let mut rng = stream(self.seed, Purpose::Draws);
            rng.set_word_pos(u128::from(at.sample.0 + 1) << 32);
            *current = (key, collect(&self.policy(at.x), self.size, &mut rng, &self.device));
        }
        drop(current);
        &self.oracle
    }
}

impl Oracle for OnPolicy {
    forward_oracle!(oracle: upper_layout, lower_layout, is_collective);

    fn value(&self, level: Objective, at: Point<'_>) -> Loss {
        self.at(at).value(level, at)
    }

    fn gradient(&self, level: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        self.at(at).gradient(level, at, wrt)
    }

    fn product(&self, level: Objective, at: Point<'_>, along: Direction<'_>, wrt: Wrt) -> Partials {
        self.at(at).product(level, at, along, wrt)
    }

    fn linearize<'a>(
        &'a self,
        level: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        self.at(at).linearize(level, at, gradient, along, wrt)
    }
}
