//! Hypergradients in x and in a learned start.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, unroll};
use crate::lower::{Descent, Plan};
use crate::{Error, Snapshot, Stage};

/// `ia-gm`: [`Rad`](crate::Rad) in x and in the start z of the lower level, which is learned with x.
///
/// ```text
/// y_0 = z,  y_{t+1} = Psi_t(y_t; x),  g = dF(x, y_T)/dx,  dF(x, y_T)/dz = lambda_0
/// ```
///
/// with `lambda_T = F_y`, `lambda_t = A_t' lambda_{t+1}`. z is the start that the call gives, and
/// [`Start::Learned`](crate::Start::Learned) moves it. Through Nesterov's dynamics it is `ia-gm-a`.
///
/// Memory and cost are `Rad`'s: T gradients, T products and one value of f, one gradient of F.
///
/// Source: R. Liu et al., "Towards gradient-based bilevel optimization with non-convex followers and
/// beyond", 2021, Sec. 3.2.
#[derive(Debug)]
pub struct IaGm {
    descent: Descent,
    plan: Plan,
}

impl IaGm {
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

impl HypergradientMethod for IaGm {
    fn describe(&self) -> String {
        format!("ia-gm({}{})", self.descent.describe(), self.plan.suffix())
    }

    fn differentiates_start(&self) -> bool {
        true
    }

    fn run(&mut self, stage: Stage<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        unroll(&stage, &self.descent, start, self.plan, self.descent.steps(), true)
    }

    fn save(&self, _: &mut Snapshot) {}
}
