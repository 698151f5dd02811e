//! How far a run is from a solution, to many digits.

use bilevel_core::constrained::Residual;
use bilevel_core::linear::{Operator, System};
use bilevel_core::{
    Cg, Direction, Error, LinearSolver, LowerProblem, Objective, Oracle, Samples, Wrt,
};
use bilevel_program::Vector;

/// The measurements at a point of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The squared norm of the hypergradient at `(x, y*(x))`; on a problem with a known answer the larger distance of F
    /// and f from it, relative to the answer or to 1.
    pub distance: f64,
    /// `F(x, y*(x))`; on a problem with a known answer the largest violation of a constraint.
    pub value: f64,
}

/// Measures with its own oracle, on the whole data, whose calls are not counted.
pub enum Judge<'a> {
    /// Solves a strongly convex lower level at each x by Newton's method, from its last solution, and computes the
    /// implicit hypergradient there.
    Solving {
        /// The oracle.
        oracle: &'a dyn Oracle,
        /// The lower solution at the last x.
        y: Vector,
        /// The linear solver.
        solver: Cg,
    },
    /// Evaluates the losses and the constraints at x and y.
    Knowing {
        /// The oracle.
        oracle: &'a dyn Oracle,
        /// F and f at the known answer.
        best: [f64; 2],
    },
}

const NEWTON_STEPS: usize = 30;
/// Of the lower gradient, relative to its value at the first point.
const TOLERANCE: f64 = 1e-12;

impl<'a> Judge<'a> {
    /// For a problem that starts at y, and whose answer has the losses `best`, if known.
    ///
    /// # Errors
    /// None for the settings of this file.
    pub fn new(oracle: &'a dyn Oracle, y: Vector, best: Option<[f64; 2]>) -> Result<Self, Error> {
        Ok(match best {
            Some(best) => Self::Knowing { oracle, best },
            None => Self::Solving { oracle, y, solver: Cg::new(200, 1e-13)? },
        })
    }

    /// Measures at x, and at y if the answer is known.
    ///
    /// # Errors
    /// The linear solver's.
    pub fn measure(&mut self, x: &Vector, y: &Vector) -> Result<Measured, Error> {
        match self {
            Self::Solving { oracle, y, solver } => {
                solved(&LowerProblem::new(*oracle, x, Samples::default()), y, solver)
            }
            Self::Knowing { oracle, best } => {
                let problem = LowerProblem::new(*oracle, x, Samples::default());
                let levels = [Objective::Upper, Objective::Lower].into_iter().zip(*best);
                let off = levels.map(|(level, best)| {
                    (problem.value(level, y).read() - best).abs() / best.abs().max(1.0)
                });
                // `f64::max` ignores NaN.
                let distance =
                    off.fold(0.0, |most, off| if off.is_nan() { off } else { off.max(most) });
                let violation = Residual::of_slope(&y.zeros_like(), &problem, y).violation;
                Ok(Measured { distance, value: violation })
            }
        }
    }
}

/// At the lower solution, to which y is moved.
fn solved(problem: &LowerProblem<'_>, y: &mut Vector, solver: &Cg) -> Result<Measured, Error> {
    // `f_yy q = rhs`
    let solve = |y: &Vector, rhs: &Vector| {
        let hessian =
            |v: &Vector| problem.product(Objective::Lower, y, Direction::in_y(v), Wrt::Y).into_y();
        let operator = Operator::symmetric(&hessian);
        Ok::<_, Error>(solver.solve(&System::new(&operator, rhs))?.q)
    };
    let slope_at = |y: &Vector| problem.gradient(Objective::Lower, y, Wrt::Y).1.into_y();
    let mut slope = slope_at(y);
    let first = slope.norm().max(1.0);
    for _ in 0..NEWTON_STEPS {
        if slope.norm() <= TOLERANCE * first {
            break;
        }
        let step = solve(y, &slope)?;
        let (before, mut length) = (slope.norm(), 1.0);
        loop {
            let moved = y.axpy(-length, &step);
            slope = slope_at(&moved);
            // Rounding ends the decrease of the norm.
            if slope.norm() < before || length < 1e-3 {
                *y = moved;
                break;
            }
            length /= 2.0;
        }
    }
    let (value, sides) = problem.gradient(Objective::Upper, y, Wrt::Both);
    let (direct, rhs) = sides.into_both();
    let q = solve(y, &rhs)?;
    let mixed = problem.product(Objective::Lower, y, Direction::in_y(&q), Wrt::X);
    let hypergradient = direct.sub(&mixed.into_x());
    Ok(Measured { distance: hypergradient.dot(&hypergradient), value: value.read() })
}
