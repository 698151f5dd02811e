//! Hypergradients by the implicit function theorem.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{Hypergradient, HypergradientMethod, Status};
use crate::linear::LinearSolver;
use crate::lower::Descent;
use crate::{Direction, Error, Level, Stage, Wrt};

/// Implicit differentiation at the end of a descent: `cg` where its solver is [`Cg`](crate::Cg).
///
/// ```text
/// y_T by T lower steps,  f_yy q = F_y,  g = F_x - f_xy' q
/// ```
///
/// Memory does not grow with T. Cost: T + 1 gradients and one value of f, one gradient of F, the solver's
/// products and one more product of f.
///
/// Requires: `f_y(x, y_T) = 0` nearly and `f_yy` positive definite there (for `cg`, or made so by
/// damping); the error is of the order of `norm(y_T - y*)` and of the solver's residual.
///
/// Source: [survey, Alg. 4](https://arxiv.org/abs/2101.11517); F. Pedregosa, "Hyperparameter
/// optimization with approximate gradient", 2016.
#[derive(Debug)]
pub struct Implicit<B: Backend> {
    descent: Descent<B>,
    solver: Box<dyn LinearSolver<B>>,
}

impl<B: Backend> Implicit<B> {
    /// At the end of `descent`, by `solver`.
    pub fn new(descent: Descent<B>, solver: impl LinearSolver<B> + 'static) -> Self {
        Self { descent, solver: Box::new(solver) }
    }
}

impl<B: Backend> HypergradientMethod<B> for Implicit<B> {
    fn describe(&self) -> String {
        format!("implicit({} after {})", self.solver.describe(), self.descent.describe())
    }

    fn hypergradient(
        &mut self,
        stage: Stage<'_, B>,
        start: &Vector<B>,
    ) -> Result<Hypergradient<B>, Error> {
        let descended = self.descent.run(&stage, start)?;
        let climbed = Status::of_descent(&descended);
        let lower = descended.state.y;
        let (upper_loss, sides) = stage.gradient(Level::Upper, &lower, Wrt::Both);
        let (direct, rhs) = sides.into_both();
        let product =
            |v: &Vector<B>, wrt| stage.product(Level::Lower, &lower, Direction::lower(v), wrt);
        let solution = self.solver.solve(&mut |v| product(v, Wrt::Lower).into_y(), &rhs);
        let mixed = product(&solution.q, Wrt::Upper).into_x();
        let slope = stage.gradient(Level::Lower, &lower, Wrt::Lower).1.into_y();
        let status = climbed.unwrap_or_else(|| Status::Implicit {
            solver: solution.status,
            residual: solution.residual,
            stationarity: slope.norm(),
        });
        Ok(Hypergradient {
            gradient: direct.sub(&mixed),
            start: None,
            lower,
            upper_loss,
            lower_loss: descended.end_loss,
            status,
        })
    }
}
