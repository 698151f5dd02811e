//! Hypergradients in the start of the lower level.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, StartInX, unroll};
use crate::lower::{Descent, Plan};
use crate::{Dynamics, Error, LowerProblem, Snapshot};

/// `maml`: [`rad`](crate::Unrolled::rad) with x, or a part of it, as the start of the lower level.
///
/// ```text
/// y_0 = x,  y_{t+1} = Psi_t(y_t; x),  g = dF(x, y_T)/dx = F_x + sum_t B_t' lambda_{t+1} + lambda_0
/// ```
///
/// with `lambda_T = F_y`, `lambda_t = A_t' lambda_{t+1}`. The start given by the caller is ignored.
///
/// Shapes: the variables of y must be those of x, in order; or, with [`Maml::with_part`], those of x at a path or below
/// it, and the rest of x may hold rates that the dynamics learns. Any other x is refused before anything runs.
///
/// Memory and cost are those of `rad`: T gradients, T products and one value of f, one gradient of F.
///
/// Source: [survey, Eqs. 27 to 29](https://arxiv.org/abs/2101.11517); C. Finn et al., "Model-agnostic
/// meta-learning for fast adaptation of deep networks", 2017.
#[derive(Clone, Debug)]
pub struct Maml {
    descent: Descent,
    start: StartInX,
    plan: Plan,
}

impl Maml {
    /// Through the steps of `descent` from x.
    pub fn new(descent: Descent) -> Self {
        Self { descent, start: StartInX::default(), plan: Plan::default() }
    }

    /// From the part of x at `path`, such as `initial.layers`.
    pub fn with_part(mut self, path: impl Into<String>) -> Self {
        self.start = StartInX { path: path.into() };
        self
    }

    /// With another memory plan.
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }
}

impl HypergradientMethod for Maml {
    fn name(&self) -> &'static str {
        "maml"
    }

    fn describe(&self) -> String {
        let Self { descent, start, plan } = self;
        format!("maml({}{}{})", descent.describe(), start.suffix(), plan.suffix())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, _: &Vector) -> Result<Hypergradient, Error> {
        let (positions, start) = self.start.find(&problem)?;
        let steps = self.descent.steps();
        let mut found = unroll(&problem, &self.descent, &start, self.plan, steps, true)?;
        if let Some(along_start) = found.start.take() {
            found.gradient = found.gradient.add_part(&positions, &along_start);
        }
        Ok(found)
    }

    fn save(&self, _: &mut Snapshot) {}
}
