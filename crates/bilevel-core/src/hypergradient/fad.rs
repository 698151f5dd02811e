//! Forward-mode hypergradients.

use std::ops::ControlFlow;

use bilevel_program::Vector;

use super::{Columns, Hypergradient, HypergradientMethod, Status};
use crate::error::at_least_one;
use crate::lower::Descent;
use crate::{Dynamics, Error, LowerProblem, Objective, Snapshot, Wrt};

/// `fad`: the Jacobian of the lower states in x, propagated with the descent.
///
/// ```text
/// Z_0 = 0,  Z_{t+1} = A_t Z_t + B_t,  g = F_x(x, y_T) + Z_T' F_y(x, y_T)
/// ```
///
/// The same gradient as [`rad`](crate::Unrolled::rad), without storing states: for long descents and an x of low
/// dimension n. Z has n columns of the size of a state. All are propagated along one descent, or [`Fad::with_block`]
/// bounds the memory to c of them and repeats the descent for each block.
///
/// Memory: c columns and one linearisation. Cost, with `b = ceil(n / c)` blocks: b T gradients, n T products and
/// b values of f, one gradient of F.
///
/// Requires: f twice differentiable along the trajectory.
///
/// Source: [survey, Alg. 2](https://arxiv.org/abs/2101.11517); Franceschi et al., "Forward and reverse
/// gradient-based hyperparameter optimization", 2017.
#[derive(Clone, Debug)]
pub struct Fad {
    descent: Descent,
    block: usize,
}

impl Fad {
    /// Through the steps of `descent`, all columns at once.
    pub fn new(descent: Descent) -> Self {
        Self { descent, block: usize::MAX }
    }

    /// With at most `columns` columns (c) at a time.
    ///
    /// # Errors
    /// If there are none.
    pub fn with_block(mut self, columns: usize) -> Result<Self, Error> {
        self.block = at_least_one("columns of a block", columns)?;
        Ok(self)
    }
}

impl HypergradientMethod for Fad {
    fn name(&self) -> &'static str {
        "fad"
    }

    fn describe(&self) -> String {
        let block = match self.block {
            usize::MAX => String::new(),
            columns => format!(", blocks of {columns}"),
        };
        format!("fad({}{block})", self.descent.describe())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let (layout, dynamics) = (problem.x.layout(), self.descent.dynamics());
        let down = |first: usize| {
            let state = self.descent.begin(&problem, start)?;
            let last = first.saturating_add(self.block).min(layout.size());
            let mut columns = Columns::zeros(first..last, &state);
            let descended = self.descent.go_on(&problem, (0, state), |t, state, _| {
                columns.push(&problem, dynamics, t, state);
                ControlFlow::Continue(())
            })?;
            Ok((descended, columns))
        };
        let (descended, columns) = down(0)?;
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &descended.state.y, Wrt::Both);
        let (direct, slope) = sides.into_both();
        let mut total = columns.pull(&slope);
        drop(columns);
        while total.len() < layout.size() {
            total.extend(down(total.len())?.1.pull(&slope));
        }
        let through_y = Vector::from_slice(layout, &total, &problem.x.device());
        Ok(Hypergradient {
            gradient: direct.add(&through_y),
            start: None,
            status: Status::of_descent(&descended).unwrap_or(Status::Exact),
            lower: descended.state.y,
            upper_loss,
            lower_loss: descended.end_loss,
        })
    }

    fn save(&self, _: &mut Snapshot) {}
}
