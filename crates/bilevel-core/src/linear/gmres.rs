//! Generalised minimal residuals.

use bilevel_program::Vector;

use super::{Limits, LinearSolver, LinearStatus, Solution, System};
use crate::Error;
use crate::error::at_least_one;

/// `gmres`: the q in the Krylov space of A and r with the smallest residual, for any operator; restarted from there
/// whenever the space has `restart` dimensions.
///
/// With an orthonormal basis V of the space and the Hessenberg matrix H, `A V = V' H`: q increases by `V y` with y the
/// least-squares solution of `H y = norm(r) e_1`, by Givens rotations.
///
/// Requires nothing of A; with restarts it may stagnate where A is indefinite. If the space is exhausted before the
/// residual is small enough, A is singular and the solver ends with [`LinearStatus::Singular`]. Memory: restart + 1
/// vectors. Cost: one product per iteration, one more per restart. The residual is that of the rotations, computed anew
/// at each restart.
///
/// Source: Y. Saad and M. H. Schultz, "GMRES: a generalized minimal residual algorithm for solving
/// nonsymmetric linear systems", 1986.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gmres {
    limits: Limits,
    restart: usize,
}

impl Gmres {
    /// At most `iterations`, until `norm(b - A q) <= tolerance norm(b)`, with a restart after 30.
    ///
    /// # Errors
    /// If `iterations` is 0 or `tolerance` not finite and positive.
    pub fn new(iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self { limits: Limits::new(iterations, tolerance)?, restart: 30 })
    }

    /// With a restart after `restart` iterations.
    ///
    /// # Errors
    /// If it is 0.
    pub fn with_restart(mut self, restart: usize) -> Result<Self, Error> {
        self.restart = at_least_one("gmres restart", restart)?;
        Ok(self)
    }
}

impl LinearSolver for Gmres {
    fn name(&self) -> &'static str {
        "gmres"
    }

    fn describe(&self) -> String {
        format!("gmres({}, restart {})", self.limits, self.restart)
    }

    fn run(&self, system: &System<'_>) -> Solution {
        let limits = self.limits.of(system);
        let (mut q, mut r) = system.start(0.0);
        let mut residual = r.norm() / system.norm();
        let mut status = limits.end(0, residual);
        let (mut k, mut size) = (0, 0.0);
        while status.is_none() {
            let mut space = Krylov::new(&r, size);
            while status.is_none() && space.columns.len() < self.restart {
                let exhausted = space.grow(system);
                k += 1;
                residual = space.rest.abs() / system.norm();
                status = limits.end(k, residual);
                if exhausted {
                    // A space that the operator maps into itself: its best q is the global best.
                    status = status.filter(|s| *s != LinearStatus::IterationLimit);
                    status = status.or(Some(LinearStatus::Singular));
                }
            }
            if status != Some(LinearStatus::NotFinite) {
                q = space.advance(q);
            }
            size = space.size;
            if status.is_none() {
                r = system.rhs().sub(&system.operator().apply(&q));
                residual = r.norm() / system.norm();
                status = limits.end(k, residual);
            }
        }
        let status = status.unwrap_or(LinearStatus::IterationLimit);
        Solution::new(q, status, Some(residual))
    }
}

/// A Krylov space, and the operator on it in triangular form.
struct Krylov {
    basis: Vec<Vector>,
    /// The columns of the triangular factor of H.
    columns: Vec<Vec<f64>>,
    /// The rotations that made it, as cosine and sine.
    rotations: Vec<(f64, f64)>,
    /// The right-hand side, rotated.
    rhs: Vec<f64>,
    /// What remains of it: the residual.
    rest: f64,
    /// A lower bound of `norm(A)`.
    size: f64,
}

impl Krylov {
    /// From r; `size` is that of an earlier space.
    fn new(r: &Vector, size: f64) -> Self {
        let norm = r.norm();
        let basis = vec![r.scale(1.0 / norm)];
        let (columns, rotations, rhs) = (Vec::new(), Vec::new(), Vec::new());
        Self { basis, columns, rotations, rhs, rest: norm, size }
    }

    /// Adds one dimension. Whether A does not lead out of the space, and is singular on it.
    fn grow(&mut self, system: &System<'_>) -> bool {
        let Some(last) = self.basis.last() else { return true };
        let mut w = system.operator().apply(last);
        self.size = self.size.max(w.norm());
        let mut column = Vec::with_capacity(self.basis.len());
        for v in &self.basis {
            let h = v.dot(&w);
            w = w.axpy(-h, v);
            column.push(h);
        }
        let out = w.norm();
        for (i, (c, s)) in self.rotations.iter().enumerate() {
            let (above, below) = (column[i], column[i + 1]);
            column[i] = c * above + s * below;
            column[i + 1] = c * below - s * above;
        }
        let j = self.rotations.len();
        let pivot = column[j].hypot(out);
        // Only rounding: the column adds nothing.
        if pivot <= 100.0 * system.epsilon() * self.size {
            return true;
        }
        let (c, s) = (column[j] / pivot, out / pivot);
        column[j] = pivot;
        self.columns.push(column);
        self.rotations.push((c, s));
        self.rhs.push(c * self.rest);
        self.rest *= -s;
        if out > 0.0 {
            self.basis.push(w.scale(1.0 / out));
        }
        false
    }

    /// `q + V y`, y by back substitution.
    fn advance(&self, q: Vector) -> Vector {
        let n = self.columns.len();
        let mut y = self.rhs.clone();
        for j in (0..n).rev() {
            y[j] /= self.columns[j][j];
            for i in 0..j {
                y[i] -= self.columns[j][i] * y[j];
            }
        }
        y.iter().zip(&self.basis).fold(q, |q, (y, v)| q.axpy(*y, v))
    }
}
