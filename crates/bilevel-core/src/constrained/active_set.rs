//! The linear system of a constrained optimum.

use std::cell::OnceCell;

use bilevel_program::Vector;
use serde::{Deserialize, Serialize};

use super::augmented::Solved;
use super::matrix::{HostSolution, Matrix};
use super::{Level, Multiplied};
use crate::linear::{LinearSolver, LinearStatus, Operator, System};
use crate::vector_ops::unit;
use crate::{Direction, Error, Wrt};

/// The conditions `L_y = 0`, `c_A = 0` at a point, A the active constraints: their derivative in y and in the multipliers
///
/// ```text
/// K = | L_yy  c_A' |     symmetric, indefinite, known by its products
///     | c_A   0    |
/// ```
///
/// Nonsingular where the gradients of the active constraints are linearly independent and `L_yy` is positive definite
/// along them. A step of Newton's method is `K d = -(L_y, c_A)`. With `K (q, r) = (F_y, 0)`, the derivative of
/// `F(x, y*(x))` is
///
/// ```text
/// F_x - L_xy q - c_x' r
/// ```
///
/// Solved by a [linear solver](crate::linear) of symmetric systems, which sees rows of the identity for the multipliers
/// of inactive constraints; or assembled, by one product per entry of y, and solved on the host.
///
/// Source: A. V. Fiacco, "Introduction to sensitivity and stability analysis in nonlinear programming", 1983, Thm. 2.4.1.
pub struct ActiveSet<'a> {
    level: Level<'a>,
    at: Multiplied,
    active: Vec<bool>,
    solver: Option<&'a dyn LinearSolver>,
    matrix: OnceCell<Matrix>,
}

/// Why `y*(x)` has no derivative at a point, or none that can be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Degenerate {
    /// This constraint, counted from 0, is active with a multiplier of 0: it is about to become inactive.
    Weak(usize),
    /// K is singular with this many active constraints.
    Singular(usize),
}

/// The derivative of `F(x, y*(x))` in x through y, and how it was found.
#[derive(Clone, Debug)]
pub struct Response {
    /// `-L_xy q - c_x' r`
    pub gradient: Vector,
    /// Why the linear solver stopped.
    pub status: LinearStatus,
    /// Its relative residual.
    pub residual: Option<f64>,
    /// Why there is no derivative, if so: the gradient is then one-sided, or that of least squares.
    pub degenerate: Option<Degenerate>,
}

/// A solution of the system.
struct Solution {
    y: Vector,
    multipliers: Vec<f64>,
    status: LinearStatus,
    residual: Option<f64>,
}

/// Steps of Newton's method.
const STEPS: usize = 12;

/// After this many consecutive steps that increase the residual, Newton's method stops.
const PATIENCE: usize = 3;

impl<'a> ActiveSet<'a> {
    /// The active constraints at a point with the `values` of the constraints. Systems are solved by `solver`, or
    /// assembled if there is none.
    pub fn at(
        level: Level<'a>,
        at: &Multiplied,
        values: &[f64],
        solver: Option<&'a dyn LinearSolver>,
    ) -> Self {
        let inequalities = level.inequalities();
        let pairs = at.multipliers.iter().zip(values).enumerate();
        let active: Vec<bool> = pairs.map(|(j, (l, c))| j >= inequalities || l + c > 0.0).collect();
        Self { level, at: at.clone(), active, solver, matrix: OnceCell::new() }
    }

    /// `numbers` of the active constraints, 0 for the others.
    fn masked(&self, numbers: &[f64]) -> Vec<f64> {
        let pairs = numbers.iter().zip(&self.active);
        pairs.map(|(number, active)| if *active { *number } else { 0.0 }).collect()
    }

    /// `numbers` of the active constraints alone.
    fn chosen(&self, numbers: &[f64]) -> Vec<f64> {
        let pairs = numbers.iter().zip(&self.active);
        pairs.filter_map(|(number, active)| active.then_some(*number)).collect()
    }

    /// `(v, u) -> (L_yy v + c_y' u, c_y v)`, u for all constraints.
    fn product(&self) -> impl Fn(&Vector, &[f64]) -> (Vector, Vec<f64>) + '_ {
        let (constraints, x, y) = (&self.level.constraints, self.level.x(), &self.at.y);
        let weights = self.masked(&self.at.multipliers);
        let loss = self.level.loss;
        let curvature = loss.problem.curvature_at(loss.of, y, Wrt::Y, Wrt::Y);
        move |v, u| {
            let of_loss = curvature.product(Direction::in_y(v), Wrt::Y).into_y();
            if u.is_empty() {
                return (of_loss, Vec::new());
            }
            let curved = constraints.product(x, y, &weights, (&self.masked(u), Direction::in_y(v)));
            (of_loss.add(&curved.y), curved.values)
        }
    }

    /// K, assembled.
    fn matrix(&self) -> &Matrix {
        self.matrix.get_or_init(|| {
            let (product, none) = (self.product(), vec![0.0; self.active.len()]);
            let columns = (0..self.at.y.layout().size()).map(|i| {
                let (column, slopes) = product(&unit(&self.at.y, i), &none);
                (column.to_vec(), self.chosen(&slopes))
            });
            Matrix::new(columns.collect())
        })
    }

    /// Solves `K (y, l) = (b, c)`, c and l for all constraints.
    fn solve(&self, b: &Vector, c: &[f64]) -> Result<Solution, Error> {
        let Some(solver) = self.solver else {
            let n = b.layout().size();
            let rhs = [b.to_vec(), self.chosen(c)].concat();
            let HostSolution { z, status, residual } = self.matrix().solve(&rhs);
            let y = Vector::from_slice(b.layout(), &z[..n], &b.device());
            let mut rest = z[n..].iter().copied();
            let active = self.active.iter().map(|active| if *active { rest.next() } else { None });
            let multipliers = active.map(Option::unwrap_or_default).collect();
            return Ok(Solution { y, multipliers, status, residual: Some(residual) });
        };
        let (constraints, product) = (&self.level.constraints, self.product());
        let whole = |z: &Vector| {
            let (v, u) = constraints.split(z);
            let (y, slopes) = product(&v, &u);
            let rows = self.active.iter().zip(slopes.iter().zip(&u));
            let rows: Vec<_> = rows.map(|(active, (c, u))| if *active { *c } else { *u }).collect();
            constraints.join(&y, &rows)
        };
        let operator = Operator::symmetric(&whole);
        let b = constraints.join(b, &self.masked(c));
        let found = solver.solve(&System::new(&operator, &b))?;
        let (y, multipliers) = constraints.split(&found.q);
        Ok(Solution { y, multipliers, status: found.status, residual: found.residual })
    }

    /// Whether f has no negative curvature along the active constraints: by the signs of the eigenvalues of K, of which
    /// as many are negative as there are active constraints. None where K is not assembled.
    pub fn is_minimum(&self) -> Option<bool> {
        self.solver.is_none().then(|| self.matrix().is_minimum())
    }

    /// Whether y is an isolated solution. None where K is not assembled.
    pub fn is_isolated(&self) -> Option<bool> {
        self.solver.is_none().then(|| self.matrix().is_isolated())
    }

    /// Newton's method on the optimality conditions from `start`, with the active constraints found anew at each step;
    /// none if a number is not finite. It may end at a stationary point that is not a minimum.
    ///
    /// Source: M. Hintermueller, K. Ito and K. Kunisch, "The primal-dual active set strategy as a semismooth Newton
    /// method", 2002.
    ///
    /// # Errors
    /// If the linear solver does not fit the system.
    pub fn newton(
        level: &Level<'a>,
        start: &Multiplied,
        solver: Option<&'a dyn LinearSolver>,
        tolerance: f64,
    ) -> Result<Option<Solved>, Error> {
        let mut at = start.clone();
        let (mut best, mut better): (Option<Solved>, usize) = (None, 0);
        for step in 0.. {
            let seen = level.see(&at);
            let residual = seen.residual.largest();
            if !(seen.loss.is_finite() && residual.is_finite()) {
                break;
            }
            if best.as_ref().is_none_or(|best| residual < best.residual.largest()) {
                best = Some(Solved { at: at.clone(), loss: seen.loss, residual: seen.residual });
                better = step;
            }
            if residual <= tolerance || step == STEPS || step > better + PATIENCE {
                break;
            }
            let set = Self::at(level.clone(), &at, &seen.values, solver);
            // Dropped multipliers leave the gradient.
            let kept = set.masked(&at.multipliers);
            let dropped: Vec<_> = at.multipliers.iter().zip(&kept).map(|(l, k)| k - l).collect();
            let slope = if dropped.iter().any(|l| *l != 0.0) {
                let pulled = level.constraints.weighted(level.x(), &at.y, &dropped);
                seen.slope.add(&pulled.y)
            } else {
                seen.slope
            };
            let found = set.solve(&slope, &seen.values)?;
            if found.status == LinearStatus::NotFinite || !found.y.all_finite() {
                break;
            }
            let multipliers = kept.iter().zip(found.multipliers).map(|(l, d)| l - d).collect();
            at = Multiplied { y: at.y.sub(&found.y), multipliers };
        }
        Ok(best)
    }

    /// The derivative of `F(x, y*(x))` in x through y, of an F with the gradient `upper` in y, at a point that
    /// satisfies the optimality conditions up to `tolerance`.
    ///
    /// # Errors
    /// If the linear solver does not fit the system.
    pub fn respond(
        &self,
        upper: &Vector,
        values: &[f64],
        tolerance: f64,
    ) -> Result<Response, Error> {
        let (constraints, x, y) = (&self.level.constraints, self.level.x(), &self.at.y);
        let found = self.solve(upper, &vec![0.0; self.active.len()])?;
        let loss = self.level.loss;
        let along = Direction::in_y(&found.y);
        let mixed = loss.problem.curvature(loss.of, y, along, Wrt::X).into_x();
        let moved = if self.active.is_empty() {
            mixed
        } else {
            let weights = self.masked(&self.at.multipliers);
            let rows = self.masked(&found.multipliers);
            mixed.add(&constraints.product(x, y, &weights, (&rows, along)).x)
        };
        Ok(Response {
            gradient: moved.scale(-1.0),
            status: found.status,
            residual: found.residual,
            degenerate: self.degenerate(found.status, values, tolerance),
        })
    }

    fn degenerate(
        &self,
        status: LinearStatus,
        values: &[f64],
        tolerance: f64,
    ) -> Option<Degenerate> {
        // Both of a pair are of the order of the square root of the residual if their product is of its order.
        let near = tolerance.sqrt();
        let pairs = self.at.multipliers.iter().zip(values).take(self.level.inequalities());
        let weak = pairs.map(|(l, c)| l.abs() <= near && c.abs() <= near).position(|weak| weak);
        if let Some(constraint) = weak {
            return Some(Degenerate::Weak(constraint));
        }
        let active = self.active.iter().filter(|active| **active).count();
        (active > 0 && status == LinearStatus::Singular).then_some(Degenerate::Singular(active))
    }
}
