//! Hypergradients by the implicit function theorem.

use bilevel_autodiff::Vector;
use burn::tensor::backend::Backend;

use super::{Hypergradient, HypergradientMethod, Samples, Status};
use crate::linear::LinearSolver;
use crate::lower::{Descent, Keep};
use crate::{Direction, Error, Level, Oracle, Point, Wrt};

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
        format!(
            "implicit({} after {} steps of {})",
            self.solver.describe(),
            self.descent.steps(),
            self.descent.dynamics().describe()
        )
    }

    fn hypergradient(
        &mut self,
        oracle: &dyn Oracle<B>,
        x: &Vector<B>,
        start: &Vector<B>,
        samples: Samples,
    ) -> Result<Hypergradient<B>, Error> {
        let descended = self.descent.run(oracle, x, start, samples.lower, Keep::Last)?;
        let climbed = Status::of_descent(&descended);
        let lower = descended.y;
        let at_upper = Point { x, y: &lower, sample: samples.upper };
        let (upper_loss, sides) = oracle.gradient(Level::Upper, at_upper, Wrt::Both);
        let (direct, rhs) = sides.into_both();
        let at = Point { x, y: &lower, sample: samples.lower };
        let mut hessian = |v: &Vector<B>| {
            oracle.product(Level::Lower, at, Direction::lower(v), Wrt::Lower).into_y()
        };
        let solution = self.solver.solve(&mut hessian, &rhs);
        let mixed =
            oracle.product(Level::Lower, at, Direction::lower(&solution.q), Wrt::Upper).into_x();
        let slope = oracle.gradient(Level::Lower, at, Wrt::Lower).1.into_y();
        let status = climbed.unwrap_or_else(|| Status::Implicit {
            solver: solution.status,
            residual: solution.residual,
            stationarity: slope.norm(),
        });
        Ok(Hypergradient {
            gradient: direct.sub(&mixed),
            lower,
            upper_loss,
            lower_loss: descended.end_loss,
            status,
        })
    }
}
