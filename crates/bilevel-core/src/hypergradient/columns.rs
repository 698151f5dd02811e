//! The Jacobian of the lower states in x, by columns.

use std::ops::Range;

use bilevel_program::Vector;

use crate::lower::{Dynamics, State, push_forward_by};
use crate::vector_ops::unit;
use crate::{Direction, Error, LowerProblem, Snapshot, Wrt};

/// Some columns of `Z_t = d state_t / dx`, the j-th being `d state_t / dx_j`.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    /// j of the first.
    first: usize,
    columns: Vec<State>,
}

impl Columns {
    /// Zero columns, as at a start that does not depend on x.
    pub fn zeros(which: Range<usize>, state: &State) -> Self {
        let zero = state.of_y(state.y.zeros_like());
        Self { first: which.start, columns: vec![zero; which.len()] }
    }

    /// `Z_{t+1} = A_t Z_t + B_t` at `state`: one product of each descended loss per column.
    pub fn push(
        &mut self,
        problem: &LowerProblem<'_>,
        dynamics: &dyn Dynamics,
        t: usize,
        state: &State,
    ) {
        let query = dynamics.query(t, state);
        let at_step = problem.at_step(dynamics, t);
        let curvature = at_step.curvature_at(dynamics.objective(t), &query, Wrt::Both, Wrt::Y);
        let product = |along: Direction<'_>| curvature.product(along, Wrt::Y);
        for (j, column) in (self.first..).zip(&mut self.columns) {
            // A unit vector is made each time: storing them would take memory quadratic in the dimension of x.
            let unit = unit(problem.x, j);
            *column = push_forward_by(problem, dynamics, t, state, column, Some(&unit), &product);
        }
    }

    /// `Z' v`, v in y: one number per column.
    pub fn pull(&self, v: &Vector) -> Vec<f64> {
        self.columns.iter().map(|column| column.y.dot(v)).collect()
    }

    /// Writes the columns.
    pub fn save(&self, name: &str, to: &mut Snapshot) {
        for (j, column) in (self.first..).zip(&self.columns) {
            column.save(&format!("{name}/{j}"), to);
        }
    }

    /// Reads them back.
    pub fn restore(&mut self, name: &str, from: &mut Snapshot) -> Result<(), Error> {
        for (j, column) in (self.first..).zip(&mut self.columns) {
            *column = column.restored(&format!("{name}/{j}"), from)?;
        }
        Ok(())
    }
}
