//! Reverse-mode hypergradients through the lower dynamics.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, unroll};
use crate::lower::{Descent, Plan};
use crate::{Error, Snapshot, Stage};

/// `rad`: back-propagation through T lower steps, keeping states alone.
///
/// With `y_{t+1} = Psi(y_t; x)`, `A_t = dPsi/dy` and `B_t = dPsi/dx` at `y_t`:
///
/// ```text
/// lambda = F_y(x, y_T),  g = F_x(x, y_T)
/// for t = T-1 .. 0:  g += B_t' lambda,  lambda = A_t' lambda
/// ```
///
/// Each backward step is one second-order product at a state, whose program is replayed there, so that memory is
/// the states that the [`Plan`] keeps and one replay: it does not grow with T times the activations.
/// Cost: T gradients and T products of f, one gradient of F, one value of f; and the steps that the plan
/// makes again.
///
/// `bda` and `pbda` are this method through a dynamics that descends both losses.
///
/// Requires: a lower loss that is twice differentiable along the way.
///
/// Source: [survey, Alg. 3](https://arxiv.org/abs/2101.11517); Franceschi et al., "Forward and reverse
/// gradient-based hyperparameter optimization", 2017.
#[derive(Debug)]
pub struct Rad {
    descent: Descent,
    plan: Plan,
}

impl Rad {
    /// Through the steps of `descent`, every state kept.
    pub fn new(descent: Descent) -> Self {
        Self { descent, plan: Plan::Trajectory }
    }

    /// With another memory plan.
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }
}

impl HypergradientMethod for Rad {
    fn describe(&self) -> String {
        format!("rad({}{})", self.descent.describe(), self.plan.suffix())
    }

    fn run(&mut self, stage: Stage<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        unroll(&stage, &self.descent, start, self.plan, self.descent.steps(), false)
    }

    fn save(&self, _: &mut Snapshot) {}
}
