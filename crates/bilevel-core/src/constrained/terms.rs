//! Terms of the constraints, added to a loss.

use bilevel_program::Vector;

use super::Level;
use crate::minimise::{Differentiable, Product, TwiceDifferentiable};
use crate::{Direction, Wrt};

/// A sum of functions, one of each constraint: the augmented Lagrangian, a barrier.
pub(crate) trait Terms {
    /// The sum at these values of the constraints.
    fn sum(&self, constraints: &[f64]) -> f64;

    /// The first derivative of each function.
    fn slopes(&self, constraints: &[f64]) -> Vec<f64>;

    /// The second derivative of each.
    fn curvatures(&self, constraints: &[f64]) -> Vec<f64>;
}

/// f with terms of the constraints, as a function of y alone.
pub(crate) struct Penalised<'a, T> {
    /// f and the constraints.
    pub level: &'a Level<'a>,
    /// The terms.
    pub terms: &'a T,
}

impl<'l, T: Terms> Penalised<'l, T> {
    /// The second derivative of the terms along v in y, in x and in y: `d<c_y' l, v>` and `(c_x, c_y)' D c_y v`, l the slopes
    /// and D the curvatures.
    fn product<'a>(&'a self, y: &Vector) -> impl Fn(&Vector) -> [Vector; 2] + use<'a, 'l, T> {
        let (constraints, x, y) = (self.level.constraints, self.level.x(), y.clone());
        let values = constraints.values(x, &y);
        let (slopes, curvatures) = (self.terms.slopes(&values), self.terms.curvatures(&values));
        let none = vec![0.0; values.len()];
        move |v| {
            let curved = constraints.product(x, &y, &slopes, (&none, v));
            let moves: Vec<_> = curved.values.iter().zip(&curvatures).map(|(c, d)| c * d).collect();
            let pushed = constraints.weighted(x, &y, &moves);
            [curved.x.add(&pushed.x), curved.y.add(&pushed.y)]
        }
    }

    /// `d/dx <slope, v>`, the slope being that of the whole in y.
    pub fn mixed(&self, y: &Vector, v: &Vector) -> Vector {
        let loss = self.level.loss;
        let of_loss = loss.problem.curvature(loss.of, y, Direction::in_y(v), Wrt::X).into_x();
        let [of_terms, _] = self.product(y)(v);
        of_loss.add(&of_terms)
    }
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
        let (of_loss, of_terms) = (self.level.loss.hessian(y), self.product(y));
        Box::new(move |v| {
            let [_, curved] = of_terms(v);
            of_loss(v).add(&curved)
        })
    }
}
