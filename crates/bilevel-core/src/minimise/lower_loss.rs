//! The lower loss at one x.

use bilevel_program::Vector;

use super::{Differentiable, Product, TwiceDifferentiable};
use crate::{Direction, LowerProblem, WeightedSum, Wrt};

/// A weighted sum of the losses as a function of y alone.
#[derive(Clone, Copy)]
pub struct LowerLoss<'a> {
    /// The oracle, x and the data.
    pub problem: LowerProblem<'a>,
    /// The sum.
    pub of: WeightedSum,
}

impl<'a> LowerLoss<'a> {
    /// f itself.
    pub fn new(problem: LowerProblem<'a>) -> Self {
        Self { problem, of: WeightedSum::LOWER }
    }
}

impl Differentiable for LowerLoss<'_> {
    fn value(&self, y: &Vector) -> f64 {
        self.problem.sum(self.of, y)
    }

    fn gradient(&self, y: &Vector) -> (f64, Vector) {
        self.problem.sum_and_slope(self.of, y)
    }
}

impl TwiceDifferentiable for LowerLoss<'_> {
    fn hessian<'b>(&'b self, y: &Vector) -> Product<'b> {
        let curvature = self.problem.curvature_at(self.of, y, Wrt::Y, Wrt::Y);
        Box::new(move |v| curvature.product(Direction::in_y(v), Wrt::Y).into_y())
    }
}
