//! Reverse-mode hypergradients through the lower dynamics: `rad`, `trad` and `ia-gm`.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, unroll_from};
use crate::lower::{Descent, Lookahead, Plan, State};
use crate::{Dynamics, Error, LowerProblem, Snapshot};

/// Back-propagation through T lower steps, storing only states.
///
/// With `y_{t+1} = Psi(y_t; x)`, `A_t = dPsi/dy` and `B_t = dPsi/dx` at `y_t`:
///
/// ```text
/// lambda = F_y(x, y_T),  g = F_x(x, y_T)
/// for t = T-1 .. T-M:  g += B_t' lambda,  lambda = A_t' lambda
/// ```
///
/// | name | constructor | M | |
/// |---|---|---|---|
/// | `rad` | [`Unrolled::rad`] | T | exact for `F(x, y_T(x))` |
/// | `trad` | [`Unrolled::trad`] | fewer than T | as if the state before the last M steps did not depend on x |
/// | `ia-gm` | [`Unrolled::ia_gm`] | T | the gradient in the start too: `dF(x, y_T)/dy_0 = lambda` |
///
/// Each backward step is one second-order product at a state, whose program is replayed there, so that memory is what
/// the [`Plan`] keeps and one replay: T states and at most 256 MiB by default, not T times the activations. Cost: T
/// gradients and M products of f, one gradient of F, one value of f; and the steps that the plan recomputes.
///
/// `bda` and `pbda` are `rad` through a dynamics that descends both losses.
///
/// Requires: a lower loss that is twice differentiable along the trajectory.
///
/// Sources: [survey, Alg. 3 and Eq. 23](https://arxiv.org/abs/2101.11517); Franceschi et al., "Forward and
/// reverse gradient-based hyperparameter optimization", 2017; A. Shaban et al., "Truncated back-propagation for
/// bilevel optimization", 2019; R. Liu et al., "Towards gradient-based bilevel optimization with non-convex
/// followers and beyond", 2021, Sec. 3.2.
#[derive(Clone, Debug)]
pub struct Unrolled {
    name: &'static str,
    steps: Lookahead,
    plan: Plan,
    /// M
    last: usize,
    start: bool,
}

impl Unrolled {
    fn through(name: &'static str, descent: Descent) -> Self {
        let last = descent.steps();
        Self { name, steps: descent.into(), plan: Plan::default(), last, start: false }
    }

    /// `rad`: through all steps of `descent`, every state kept.
    pub fn rad(descent: Descent) -> Self {
        Self::through("rad", descent)
    }

    /// `trad`: through the `last` steps (M) of `descent`, the states before each of them kept.
    ///
    /// Where `A_t` contracts, as `I - s f_yy` with `f_yy >= mu` does, the omitted part is of the order of
    /// `(1 - s mu)^M`; with M = T nothing is omitted.
    ///
    /// # Errors
    /// If M is 0 or more than the steps of `descent`.
    pub fn trad(descent: Descent, last: usize) -> Result<Self, Error> {
        if (1..=descent.steps()).contains(&last) {
            return Ok(Self { last, ..Self::through("trad", descent) });
        }
        Err(Error::InvalidSetting {
            setting: "back-propagated steps",
            found: format!("{last} of {} lower steps", descent.steps()),
            expected: "at least 1 and at most all lower steps",
            cure: "give a count of the last steps, or use rad for all",
        })
    }

    /// `ia-gm`: `rad` in x and in the start z of the lower level, which is learned with x. z is the given start, and
    /// [`Start::Learned`](crate::Start::Learned) moves it. With Nesterov's dynamics it is `ia-gm-a`.
    pub fn ia_gm(descent: Descent) -> Self {
        Self { start: true, ..Self::through("ia-gm", descent) }
    }

    /// With only the first `steps` (k) of the T lower steps kept; the others look ahead of where y moves.
    ///
    /// ```text
    /// g = dF(x, y_T(x))/dx,  y' = y_k,  m' = m_k
    /// ```
    ///
    /// with m the memory of the dynamics. The next call goes on from y', m' and the number of steps kept so far, so
    /// the lower level must start [warm](crate::Start::Warm). x then sees how y would respond over T steps, while y
    /// stays as far behind as its own optimiser leaves it: the unrolled generative adversarial networks have k = 1. The
    /// lower point and the losses of the hypergradient are those of `y_T`; [`kept`](HypergradientMethod::kept) is
    /// `y_k`. No oracle call is added. Where the steps depend neither on a memory nor on their number, k = T is the
    /// method without this setting.
    ///
    /// Source: L. Metz et al., ["Unrolled generative adversarial networks"](https://arxiv.org/abs/1611.02163), 2017;
    /// there, as here, the steps ahead are those of the optimiser that moves y.
    ///
    /// # Errors
    /// If `steps` is 0 or more than T, or the start of y is learned, which leaves nothing to go on from.
    pub fn keeping(self, steps: usize) -> Result<Self, Error> {
        if self.start {
            return Err(Error::InvalidSetting {
                setting: "kept steps",
                found: format!("{steps}, for {}", self.name),
                expected: "a method whose lower level goes on from its last result",
                cure: "use rad or trad",
            });
        }
        Ok(Self { steps: self.steps.keeping(steps)?, ..self })
    }

    /// With another memory plan for the M states.
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }
}

impl HypergradientMethod for Unrolled {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> String {
        let Self { name, steps, plan, last, .. } = self;
        let truncated = match *last {
            all if all == steps.descent().steps() => String::new(),
            last => format!("the last {last} of "),
        };
        format!("{name}({truncated}{}{})", steps.describe(), plan.suffix())
    }

    fn differentiates_start(&self) -> bool {
        self.start
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
        let Self { steps, plan, last, start: in_start, .. } = self;
        let (from, mut catch) = steps.resume(&problem, start)?;
        let seen = |state: &State| catch.after_step(state);
        let descent = steps.descent();
        let found = unroll_from(&problem, descent, from, *plan, *last, *in_start, seen)?;
        steps.store(catch);
        Ok(found)
    }

    fn save(&self, to: &mut Snapshot) {
        self.steps.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Vector, y: &Vector) -> Result<(), Error> {
        self.steps.restore(from, y)
    }
}
