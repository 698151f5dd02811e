//! Forward-mode hypergradients that never restart.

use std::ops::ControlFlow;
use std::sync::Arc;

use bilevel_program::{Layout, Vector};

use super::{Columns, Hypergradient, HypergradientMethod, Status};
use crate::lower::{Descent, State};
use crate::{Dynamics, Error, LowerProblem, Objective, Snapshot, Wrt};

/// `rtho`: [`Fad`](crate::Fad) on one endless descent, while x moves.
///
/// Each call makes T more steps at its x, from the state and the Jacobian of the last call; the given start is used
/// only in the first call.
///
/// ```text
/// T times:  Z = A_t Z + B_t,  state = Psi_t(state; x)
/// g = F_x(x, y) + Z' F_y(x, y)
/// ```
///
/// With x held fixed, after k calls: the gradient of `Fad` through k T steps. With x moving, Z mixes the effects of
/// earlier x, which is a small error if x moves slowly compared with y. So T = 1 gives a hypergradient after every
/// lower step.
///
/// Memory: all n columns of Z, a state each, between calls too, and one linearisation. Cost of a call: T
/// gradients, n T products and one value of f, one gradient of F.
///
/// After an error, or when the variables are those of another problem, the next call starts over.
///
/// Source: Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", 2017,
/// real-time hyperparameter optimisation.
#[derive(Clone, Debug)]
pub struct OnlineFad {
    descent: Descent,
    carried: Option<Carried>,
}

/// What one call passes to the next.
#[derive(Clone, Debug)]
struct Carried {
    /// The steps made.
    made: usize,
    state: State,
    /// The layout of the x that the columns belong to.
    upper: Arc<Layout>,
    columns: Columns,
}

impl OnlineFad {
    /// With the steps of `descent` per call.
    pub fn new(descent: Descent) -> Self {
        Self { descent, carried: None }
    }

    /// Forgets the descent: the next call starts over.
    pub fn restart(&mut self) {
        self.carried = None;
    }

    /// The result of the last call, if it fits; otherwise the start.
    fn take(&mut self, problem: &LowerProblem<'_>, start: &Vector) -> Result<Carried, Error> {
        let upper = problem.x.layout();
        let carried = self.carried.take().filter(|carried| {
            carried.state.y.layout() == start.layout() && carried.upper == *upper
        });
        if let Some(carried) = carried {
            return Ok(carried);
        }
        let state = self.descent.begin(problem, start)?;
        let columns = Columns::zeros(0..upper.size(), &state);
        Ok(Carried { made: 0, state, upper: upper.clone(), columns })
    }
}

impl HypergradientMethod for OnlineFad {
    fn name(&self) -> &'static str {
        "rtho"
    }

    fn describe(&self) -> String {
        format!("rtho({})", self.descent.describe())
    }

    fn last_step(&self) -> Option<(usize, &dyn Dynamics)> {
        Some(self.descent.last_step())
    }

    fn run(&mut self, problem: LowerProblem<'_>, start: &Vector) -> Result<Hypergradient, Error> {
        let Carried { made, state, upper, mut columns } = self.take(&problem, start)?;
        let descended = self.descent.go_on(&problem, (made, state), |t, state, _| {
            columns.push(&problem, self.descent.dynamics(), t, state);
            ControlFlow::Continue(())
        })?;
        let lower = descended.state.y.clone();
        let (upper_loss, sides) = problem.gradient(Objective::Upper, &lower, Wrt::Both);
        let (direct, slope) = sides.into_both();
        let total = columns.pull(&slope);
        let through_y = Vector::from_slice(problem.x.layout(), &total, &problem.x.device());
        // Later calls cannot tell whether x has moved.
        let trusted = if made == 0 { Status::Exact } else { Status::Approximate };
        let status = Status::of_descent(&descended).unwrap_or(trusted);
        let made = made + descended.steps;
        self.carried = Some(Carried { made, state: descended.state, upper, columns });
        Ok(Hypergradient {
            gradient: direct.add(&through_y),
            start: None,
            lower,
            upper_loss,
            lower_loss: descended.end_loss,
            status,
        })
    }

    fn save(&self, to: &mut Snapshot) {
        if let Some(Carried { made, state, columns, .. }) = &self.carried {
            to.put_count("made", *made);
            state.save("state", to);
            columns.save("columns", to);
        }
    }

    fn restore(&mut self, from: &mut Snapshot, x: &Vector, y: &Vector) -> Result<(), Error> {
        self.carried = None;
        if from.has("made") {
            let made = from.take_count("made")?;
            let state = self.descent.dynamics().start(y).restored("state", from)?;
            let mut columns = Columns::zeros(0..x.layout().size(), &state);
            columns.restore("columns", from)?;
            self.carried = Some(Carried { made, state, upper: x.layout().clone(), columns });
        }
        Ok(())
    }
}
