//! Hypergradients through one lower step, without second derivatives.

use std::ops::ControlFlow;

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status};
use crate::error::positive;
use crate::lower::{Descent, Dynamics, Update};
use crate::{Error, LowerProblem, Objective, Snapshot, Wrt};

/// `one-stage-fd`: [`OneStage`](crate::OneStage) with the product by central differences, as in DARTS.
///
/// ```text
/// v = -s F_y(x, y_1),  e = r / norm(v)
/// g = F_x(x, y_1) + (f_x(x, y_0 + e v) - f_x(x, y_0 - e v)) / 2e
/// ```
///
/// `f_x` is taken at the distance r from `y_0`, 0.01 unless set; the error is `O(r^2)` for a three times
/// differentiable `f_x`, down to rounding. For other dynamics v is the direction of their product.
///
/// Memory: one replay of a gradient, not of a product. Cost: 3 gradients and one value of f, one gradient of F. No
/// products, so that your own oracle needs no tangent rules (`AutodiffOracle` tries a product when it is built).
///
/// Source: [survey, Eq. 26](https://arxiv.org/abs/2101.11517); H. Liu et al., "DARTS: differentiable
/// architecture search", 2019.
#[derive(Clone, Debug)]
pub struct OneStageFd {
    descent: Descent,
    distance: f64,
}

impl OneStageFd {
    /// Through one step of `dynamics`, at the distance 0.01.
    pub fn new(dynamics: impl Dynamics + 'static) -> Self {
        Self { descent: Descent::once(dynamics), distance: 0.01 }
    }

    /// At another distance r.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_distance(mut self, distance: f64) -> Result<Self, Error> {
        self.distance = positive("distance of the differences", distance)?;
        Ok(self)
    }
}

impl HypergradientMethod for OneStageFd {
    fn name(&self) -> &'static str {
        "one-stage-fd"
    }

    fn describe(&self) -> String {
        let dynamics = self.descent.dynamics().describe();
        format!("one-stage-fd({dynamics}, distance {})", self.distance)
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let dynamics = self.descent.dynamics();
        let first = self.descent.begin(&problem, start)?;
        let descended = self
            .descent
            .go_on(&problem, (0, first.clone()), |_, _, _| ControlFlow::Continue(()))?;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &descended.state.y, Wrt::Both);
        let (mut gradient, slope) = sides.into_both();

        let at_step = problem.at_step(dynamics, 0);
        let (objective, query) = (dynamics.objective(0), dynamics.query(0, &first));
        let compute = || at_step.slope(objective, &query).1;
        let lambda = descended.state.of_y(slope);
        let back = dynamics.adjoint(&Update::new(0, problem.x, &first, &compute), lambda);
        if let Some(rates) = &back.x {
            gradient = gradient.add(rates);
        }
        let norm = back.gradient.norm();
        // Along zero the product is zero.
        if norm != 0.0 {
            let e = self.distance / norm;
            let side = |e| at_step.upper_slope(objective, &query.axpy(e, &back.gradient));
            gradient = gradient.axpy(0.5 / e, &side(e).sub(&side(-e)));
        }
        Ok(Hypergradient {
            gradient,
            start: None,
            status: Status::of_descent(&descended).unwrap_or(Status::Approximate),
            lower: descended.state.y,
            upper_loss,
            lower_loss: descended.end_loss,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
