//! Hypergradients without the response of the lower level.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status};
use crate::lower::{Descent, Lookahead};
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
/// With T = 1 and [`keeping`](Self::keeping) 1: the alternating steps by which generative adversarial networks are
/// usually trained, each level by its own optimiser.
///
/// Source: [survey, section 3.3 and Eq. 24 with a step size of zero](https://arxiv.org/abs/2101.11517); H. Liu et al.,
/// "DARTS: differentiable architecture search", 2019, section 2.3.
#[derive(Clone, Debug)]
pub struct FirstOrder {
    steps: Lookahead,
}

impl FirstOrder {
    /// At the end of `descent`.
    pub fn new(descent: Descent) -> Self {
        Self { steps: descent.into() }
    }

    /// With only the first `steps` lower steps kept, as in [`Unrolled::keeping`](crate::Unrolled::keeping).
    ///
    /// # Errors
    /// If that is 0 or more than T.
    pub fn keeping(self, steps: usize) -> Result<Self, Error> {
        Ok(Self { steps: self.steps.keeping(steps)? })
    }
}

impl HypergradientMethod for FirstOrder {
    fn name(&self) -> &'static str {
        "first-order"
    }

    fn describe(&self) -> String {
        format!("first-order(after {})", self.steps.describe())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.steps.last_step())
    }

    fn goes_on(&self) -> bool {
        self.steps.goes_on()
    }

    fn kept(&self) -> Option<&Vector> {
        self.steps.kept()
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let (from, mut catch) = self.steps.resume(&problem, start)?;
        let seen = |state: &_| catch.after_step(state);
        let descended = self.steps.descent().follow(&problem, from, seen)?;
        self.steps.store(catch);
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

    fn save(&self, to: &mut Snapshot) {
        self.steps.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Vector, y: &Vector) -> Result<(), Error> {
        self.steps.restore(from, y)
    }
}
