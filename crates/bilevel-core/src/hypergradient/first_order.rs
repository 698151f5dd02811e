//! Hypergradients without the response of the lower level.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status};
use crate::lower::Descent;
use crate::{Dynamics, Error, LowerProblem, Objective, Snapshot, Wrt};

/// `first-order`: the direct part of the hypergradient, as if y did not depend on x.
///
/// ```text
/// y_T by T lower steps,  g = F_x(x, y_T)
/// ```
///
/// Exact where `F_y(x, y_T) = 0` or f does not depend on x. Usually combined with a warm start, as for generators that
/// treat their discriminator as fixed and for the architectures of first-order DARTS. Cost: T gradients and one value
/// of f, one gradient of F.
///
/// Where F does not depend on x directly, g is zero.
///
/// Source: [survey, section 3.3 and Eq. 24 with a step size of zero](https://arxiv.org/abs/2101.11517); H. Liu et al.,
/// "DARTS: differentiable architecture search", 2019, section 2.3.
#[derive(Clone, Debug)]
pub struct FirstOrder {
    descent: Descent,
}

impl FirstOrder {
    /// At the end of `descent`.
    pub fn new(descent: Descent) -> Self {
        Self { descent }
    }
}

impl HypergradientMethod for FirstOrder {
    fn name(&self) -> &'static str {
        "first-order"
    }

    fn describe(&self) -> String {
        format!("first-order(after {})", self.descent.describe())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let descended = self.descent.run(&problem, start)?;
        let status = Status::of_descent(&descended).unwrap_or(Status::Approximate);
        let lower = descended.state.y;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &lower, Wrt::X);
        Ok(Hypergradient {
            gradient: sides.into_x(),
            start: None,
            lower,
            upper_loss,
            lower_loss: descended.end_loss,
            status,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
