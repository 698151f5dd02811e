//! Terms of the constraints, added to a loss.

use bilevel_program::Vector;

use super::Level;
use crate::minimise::{Differentiable, Product, TwiceDifferentiable};
use crate::{Constraints, Direction};

/// A sum of functions, one per constraint: the augmented Lagrangian, a barrier.
pub(crate) trait Terms {
    /// The sum at these values of the constraints.
    fn sum(&self, constraints: &[f64]) -> f64;

    /// The first derivative of each function.
    fn slopes(&self, constraints: &[f64]) -> Vec<f64>;

    /// The second derivative of each function.
    fn curvatures(&self, constraints: &[f64]) -> Vec<f64>;
}

/// The second derivative of terms at a point, in x and y together: `sum_j l_j c_j''` and `c' D c'`, l the slopes and D the
/// curvatures.
pub(crate) struct Curved {
    x: Vector,
    y: Vector,
    slopes: Vec<f64>,
    curvatures: Vec<f64>,
}

impl Curved {
    /// Of `terms` of `constraints`.
    pub fn at(
        constraints: &dyn Constraints,
        terms: &(impl Terms + ?Sized),
        (x, y): (&Vector, &Vector),
    ) -> Self {
        let values = constraints.values(x, y);
        let (slopes, curvatures) = (terms.slopes(&values), terms.curvatures(&values));
        Self { x: x.clone(), y: y.clone(), slopes, curvatures }
    }

    /// The product with a direction, in x and in y, for the same constraints.
    pub fn product(&self, constraints: &dyn Constraints, along: Direction<'_>) -> [Vector; 2] {
        let none = vec![0.0; self.slopes.len()];
        let curved = constraints.product(&self.x, &self.y, &self.slopes, (&none, along));
        let moves = curved.values.iter().zip(&self.curvatures).map(|(c, d)| c * d);
        let pushed = constraints.weighted(&self.x, &self.y, &moves.collect::<Vec<_>>());
        [curved.x.add(&pushed.x), curved.y.add(&pushed.y)]
    }
}

/// f with terms of the constraints, as a function of y alone.
pub(crate) struct Penalised<'a, T> {
    /// f and the constraints.
    pub level: &'a Level<'a>,
    /// The terms.
    pub terms: &'a T,
}

impl<T: Terms> Differentiable for Penalised<'_, T> {
    fn value(&self, y: &Vector) -> f64 {
        let values = self.level.constraints.values(self.level.x(), y);
        self.level.loss.value(y) + self.terms.sum(&values)
    }

    fn gradient(&self, y: &Vector) -> (f64, Vector) {
        let (loss, slope) = self.level.loss.gradient(y);
        let mut weigh = |values: &[f64]| self.terms.slopes(values);
        let pulled = self.level.constraints.pull_back(self.level.x(), y, &mut weigh);
        (loss + self.terms.sum(&pulled.values), slope.add(&pulled.y))
    }
}

impl<T: Terms> TwiceDifferentiable for Penalised<'_, T> {
    fn hessian<'a>(&'a self, y: &Vector) -> Product<'a> {
        let (of_loss, constraints) = (self.level.loss.hessian(y), self.level.constraints.as_ref());
        let curved = Curved::at(constraints, self.terms, (self.level.x(), y));
        Box::new(move |v| {
            let [_, of_terms] = curved.product(constraints, Direction::in_y(v));
            of_loss(v).add(&of_terms)
        })
    }
}
