//! Hypergradients by a rank-one Gauss-Newton approximation.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Status};
use crate::linear::LinearStatus;
use crate::lower::Descent;
use crate::{Dynamics, Error, LowerProblem, Objective, Snapshot, Wrt};

/// `iga`: implicit differentiation with `f_yy ~ f_y f_y'` and `f_xy ~ f_y f_x'`.
///
/// ```text
/// y_T by T lower steps,  g = F_x - (<F_y, f_y> / <f_y, f_y>) f_x
/// ```
///
/// First order: no products. Cost: T + 1 gradients and one value of f, one gradient of F.
///
/// Requires: a lower loss like a square, with minimum 0, so that `f_y f_y'` resembles its Hessian; otherwise there is
/// no error bound, and the status is [`LinearStatus::Approximate`]. At `f_y = 0` the quotient is undefined: `g = F_x`,
/// with [`LinearStatus::Singular`].
///
/// Source: the method IGA of the library BOAT.
#[derive(Clone, Debug)]
pub struct Iga {
    descent: Descent,
}

impl Iga {
    /// At the end of `descent`.
    pub fn new(descent: Descent) -> Self {
        Self { descent }
    }
}

impl HypergradientMethod for Iga {
    fn name(&self) -> &'static str {
        "iga"
    }

    fn describe(&self) -> String {
        format!("iga(after {})", self.descent.describe())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let descended = self.descent.run(&problem, start)?;
        let climbed = Status::of_descent(&descended);
        let lower = descended.state.y;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &lower, Wrt::Both);
        let (direct, upper_slope) = sides.into_both();
        let (in_x, slope) = problem.gradient(Objective::Lower, &lower, Wrt::Both).1.into_both();
        let square = slope.dot(&slope);
        let (gradient, solver) = if square == 0.0 {
            (direct, LinearStatus::Singular)
        } else {
            let weight = upper_slope.dot(&slope) / square;
            (direct.axpy(-weight, &in_x), LinearStatus::Approximate)
        };
        let solver = if gradient.all_finite() { solver } else { LinearStatus::NotFinite };
        let stationarity = square.sqrt();
        let status = Status::Implicit { solver, residual: None, stationarity, relative: None };
        let status = status.after(climbed);
        Ok(Hypergradient {
            gradient,
            start: None,
            lower,
            upper_loss,
            lower_loss: descended.end_loss,
            status,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
