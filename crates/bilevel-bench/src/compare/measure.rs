//! How far an upper point is from a solution, to many digits.

use bilevel_core::linear::{Operator, System};
use bilevel_core::{
    Cg, Direction, Error, LinearSolver, LowerProblem, Objective, Oracle, Samples, Wrt,
};
use bilevel_program::Vector;

/// What is measured at an upper point x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The squared norm of the hypergradient at `(x, y*(x))`.
    pub slope: f64,
    /// `F(x, y*(x))`.
    pub value: f64,
}

/// Solves the lower level at each x by Newton's method, from where it was solved before, and takes the
/// implicit hypergradient there. The lower level must be strongly convex.
pub struct Judge<'a> {
    oracle: &'a dyn Oracle,
    y: Vector,
    solver: Cg,
}

const NEWTON_STEPS: usize = 30;
/// Of the lower gradient, relative to what it is at the first point.
const TOLERANCE: f64 = 1e-12;

impl<'a> Judge<'a> {
    /// With an oracle of its own, on the whole data, whose calls nobody counts.
    ///
    /// # Errors
    /// None for the settings of this file.
    pub fn new(oracle: &'a dyn Oracle, y: Vector) -> Result<Self, Error> {
        Ok(Self { oracle, y, solver: Cg::new(200, 1e-13)? })
    }

    /// Measures at x.
    ///
    /// # Errors
    /// The linear solver's.
    pub fn measure(&mut self, x: &Vector) -> Result<Measured, Error> {
        let problem = LowerProblem::new(self.oracle, x, Samples::default());
        let slope_at = |y: &Vector| problem.gradient(Objective::Lower, y, Wrt::Y).1.into_y();
        let mut slope = slope_at(&self.y);
        let first = slope.norm().max(1.0);
        for _ in 0..NEWTON_STEPS {
            if slope.norm() <= TOLERANCE * first {
                break;
            }
            let step = self.solve(&problem, &slope)?;
            let (before, mut length) = (slope.norm(), 1.0);
            loop {
                let y = self.y.axpy(-length, &step);
                slope = slope_at(&y);
                // Rounding ends the descent of the norm.
                if slope.norm() < before || length < 1e-3 {
                    self.y = y;
                    break;
                }
                length /= 2.0;
            }
        }
        let (value, sides) = problem.gradient(Objective::Upper, &self.y, Wrt::Both);
        let (direct, rhs) = sides.into_both();
        let q = self.solve(&problem, &rhs)?;
        let mixed = problem.product(Objective::Lower, &self.y, Direction::in_y(&q), Wrt::X);
        let hypergradient = direct.sub(&mixed.into_x());
        Ok(Measured { slope: hypergradient.dot(&hypergradient), value: value.read() })
    }

    /// `f_yy q = rhs`.
    fn solve(&self, problem: &LowerProblem<'_>, rhs: &Vector) -> Result<Vector, Error> {
        let hessian = |v: &Vector| {
            problem.product(Objective::Lower, &self.y, Direction::in_y(v), Wrt::Y).into_y()
        };
        let operator = Operator::symmetric(&hessian);
        Ok(self.solver.solve(&System::new(&operator, rhs))?.q)
    }
}
