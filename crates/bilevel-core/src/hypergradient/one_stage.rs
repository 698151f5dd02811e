//! Hypergradients through one lower step.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, unroll};
use crate::lower::{Descent, Dynamics, Plan};
use crate::{Error, LowerProblem, Snapshot};

/// `one-stage`: [`rad`](crate::Unrolled::rad) with T = 1.
///
/// ```text
/// y_1 = y_0 - s f_y(x, y_0),  g = F_x(x, y_1) - s f_xy(x, y_0)' F_y(x, y_1)
/// ```
///
/// for plain gradient descent, and likewise for other dynamics. Exact for `F(x, y_1(x))`, and usually combined with a
/// warm start. Memory: one state and one replay. Cost: one gradient, one product and one value of f, one gradient of F.
///
/// Source: [survey, Eqs. 24 and 25](https://arxiv.org/abs/2101.11517); H. Liu et al., "DARTS:
/// differentiable architecture search", 2019.
#[derive(Clone, Debug)]
pub struct OneStage {
    descent: Descent,
}

impl OneStage {
    /// Through one step of `dynamics`.
    pub fn new(dynamics: impl Dynamics + 'static) -> Self {
        Self { descent: Descent::once(dynamics) }
    }
}

impl HypergradientMethod for OneStage {
    fn name(&self) -> &'static str {
        "one-stage"
    }

    fn describe(&self) -> String {
        format!("one-stage({})", self.descent.dynamics().describe())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        unroll(&problem, &self.descent, start, Plan::default(), 1, false)
    }

    fn save(&self, _: &mut Snapshot) {}
}
