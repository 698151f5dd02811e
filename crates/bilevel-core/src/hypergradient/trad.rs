//! Truncated reverse mode.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, unroll};
use crate::lower::{Descent, Plan};
use crate::{Error, Snapshot, Stage};

/// `trad`: [`Rad`](crate::Rad) through the last M of T lower steps, as if the state before them did not
/// depend on x.
///
/// ```text
/// lambda = F_y(x, y_T),  g = F_x(x, y_T)
/// for t = T-1 .. T-M:  g += B_t' lambda,  lambda = A_t' lambda
/// ```
///
/// Where `A_t` contracts, as `I - s f_yy` with `f_yy >= mu` does, what is left out is of the order of
/// `(1 - s mu)^M`; with M = T nothing is.
///
/// Memory: M states and one replay. Cost: T gradients, M products and one value of f, one gradient of F.
///
/// Source: [survey, Eq. 23](https://arxiv.org/abs/2101.11517); A. Shaban et al., "Truncated
/// back-propagation for bilevel optimization", 2019.
#[derive(Debug)]
pub struct Trad {
    descent: Descent,
    last: usize,
    plan: Plan,
}

impl Trad {
    /// Through the `last` steps (M) of `descent`, the states before each of them kept.
    ///
    /// # Errors
    /// If M is 0 or more than the steps of `descent`.
    pub fn new(descent: Descent, last: usize) -> Result<Self, Error> {
        if (1..=descent.steps()).contains(&last) {
            return Ok(Self { descent, last, plan: Plan::Trajectory });
        }
        Err(Error::InvalidSetting {
            setting: "back-propagated steps",
            found: format!("{last} of {} lower steps", descent.steps()),
            expected: "at least 1 and at most all lower steps",
            cure: "give a count of the last steps, or use Rad for all",
        })
    }

    /// With another memory plan for the M states.
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }
}

impl HypergradientMethod for Trad {
    fn describe(&self) -> String {
        let Self { descent, last, plan } = self;
        format!("trad(the last {last} of {}{})", descent.describe(), plan.suffix())
    }

    fn run(&mut self, stage: Stage<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        unroll(&stage, &self.descent, start, self.plan, self.last, false)
    }

    fn save(&self, _: &mut Snapshot) {}
}
