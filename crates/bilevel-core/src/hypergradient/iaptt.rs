//! Hypergradients at the worst point of the trajectory.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status, reverse};
use crate::lower::{Descent, Plan};
use crate::{Dynamics, Error, Loss, LowerProblem, Objective, Snapshot};

/// `iaptt`: [`ia-gm`](crate::Unrolled::ia_gm) from the lower point where F is greatest.
///
/// ```text
/// y_0 = z,  y_{k+1} = Psi_k(y_k; x),  m = argmax_{1 <= k <= K} F(x, y_k)
/// g = dF(x, y_m)/dx,  dF(x, y_m)/dz
/// ```
///
/// the gradients of `max_k F(x, y_k)` where the maximum is attained once; otherwise m is the first maximiser. The
/// hypergradient's lower point and losses are those of `y_m`. The lower level need not be convex: the start z is
/// learned too, by [`Start::Learned`](crate::Start::Learned).
///
/// Memory: the states that the [`Plan`] keeps of K steps, and one replay. Cost: K gradients, m products and one value
/// of f (two if m < K), K values and one gradient of F; and the steps that the plan recomputes. The K values are read
/// at once, after the last step.
///
/// Source: R. Liu et al., "Towards gradient-based bilevel optimization with non-convex followers and
/// beyond", 2021, Alg. 1.
#[derive(Clone, Debug)]
pub struct Iaptt {
    descent: Descent,
    plan: Plan,
}

impl Iaptt {
    /// Along the steps of `descent`, every state kept.
    pub fn new(descent: Descent) -> Self {
        Self { descent, plan: Plan::default() }
    }

    /// With another memory plan.
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }
}

impl HypergradientMethod for Iaptt {
    fn name(&self) -> &'static str {
        "iaptt"
    }

    fn describe(&self) -> String {
        format!("iaptt({}{})", self.descent.describe(), self.plan.suffix())
    }

    fn differentiates_start(&self) -> bool {
        true
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let steps = self.descent.steps();
        let mut losses = Vec::with_capacity(steps);
        let begin = (0, self.descent.begin(&problem, start)?);
        let (descended, mut tape) =
            self.descent.record_and_see(&problem, begin, self.plan, steps, |state| {
                losses.push(problem.value(Objective::Upper, &state.y));
            })?;
        let status = Status::of_descent(&descended).unwrap_or(Status::Exact);
        let worst = worst(&Loss::read_all(losses));
        let (end, lower_loss) = if worst == steps {
            (descended.state, descended.end_loss)
        } else {
            let end = tape.shorten(worst);
            let loss = problem.value(Objective::Lower, &end.y).read();
            (end, loss)
        };
        let swept =
            reverse(&problem, self.descent.dynamics(), &end, || tape.pop_with_curvature(), true);
        Ok(Hypergradient {
            gradient: swept.x,
            start: swept.start,
            lower: end.y,
            upper_loss: swept.upper_loss,
            lower_loss,
            status,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}

/// The first step, counted from 1, after which the loss is greatest; NaN counts as greater than any number, so that it
/// is not overlooked.
fn worst(losses: &[f64]) -> usize {
    let rank = |loss: f64| if loss.is_nan() { f64::INFINITY } else { loss };
    let mut worst = (1, f64::NEG_INFINITY);
    for (k, loss) in (1..).zip(losses) {
        let loss = rank(*loss);
        if loss > worst.1 {
            worst = (k, loss);
        }
    }
    worst.0
}
