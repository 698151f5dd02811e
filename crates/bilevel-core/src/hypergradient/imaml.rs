//! Meta-learning with implicit gradients.

use bilevel_program::Vector;

use super::{Hypergradient, HypergradientMethod, Implicit, StartInX};
use crate::constrained::Residual;
use crate::error::positive;
use crate::oracle::Anchored;
use crate::{Error, LowerProblem, Snapshot};

/// `imaml`: implicit differentiation of `min_y f(x, y) + mu/2 norm(y - x)^2`, from `y = x`.
///
/// ```text
/// y_T by T lower steps from x,  (f_yy + mu I) q = F_y,  g = F_x - f_xy' q + mu q
/// ```
///
/// If x is the common start of many tasks and the losses do not depend on it otherwise, then
/// `g = mu (f_yy + mu I)^-1 F_y`. Cost: that of [`Implicit`]; [`Hypergradient::lower_loss`] is the regularised one, and
/// the solver's start is not used.
///
/// Requires: variables of x and y with the same shapes, in the same order; `mu` above the negative curvature of f, so
/// that `f_yy + mu I` is positive definite; a lower step size below `2 / (L + mu)`.
///
/// Source: A. Rajeswaran et al., "Meta-learning with implicit gradients", 2019;
/// [survey, section 6](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Debug)]
pub struct Imaml {
    implicit: Implicit,
    strength: f64,
}

impl Imaml {
    /// `implicit` on the lower loss regularised by `mu = strength`; its solver is
    /// [`Cg`](crate::Cg) in the source.
    ///
    /// # Errors
    /// If `strength` is not finite and positive.
    pub fn new(implicit: Implicit, strength: f64) -> Result<Self, Error> {
        Ok(Self { implicit, strength: positive("imaml strength", strength)? })
    }
}

impl HypergradientMethod for Imaml {
    fn name(&self) -> &'static str {
        "imaml"
    }

    fn describe(&self) -> String {
        format!("imaml(strength {}, {})", self.strength, self.implicit.describe())
    }

    fn run(&mut self, problem: LowerProblem<'_>, _: &Vector) -> Result<Hypergradient, Error> {
        let (_, start) = StartInX::default().find(&problem)?;
        let anchored = Anchored::new(problem.oracle, self.strength);
        self.implicit
            .hypergradient(LowerProblem::new(&anchored, problem.x, problem.samples), &start)
    }

    fn residual(&self, problem: LowerProblem<'_>, y: &Vector) -> Residual {
        let anchored = Anchored::new(problem.oracle, self.strength);
        self.implicit.residual(LowerProblem { oracle: &anchored, ..problem }, y)
    }

    fn save(&self, to: &mut Snapshot) {
        self.implicit.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.implicit.restore(from, x, y)
    }
}
