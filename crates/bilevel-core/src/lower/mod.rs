//! Lower-level dynamics: `y_{t+1} = Psi_t(y_t; x)`.
//!
//! A step of a first-order optimiser is `state' = U(state, g)` with a gradient g and a cheap elementwise `U`. A
//! dynamics gives `U`, its tangent and its adjoint; the second-order product that carries a tangent into g, or the
//! adjoint of g back to x and y, is implemented once for all of them, in [`push_forward`] and [`pull_back`]. So a new
//! optimiser is one small file.

mod adam;
mod aggregated;
mod clipped;
mod coefficient;
mod custom;
mod descent;
mod gd;
mod inherit;
mod lookahead;
mod lost_digits;
mod momentum;
mod nesterov;
mod plan;
mod preconditioned;
mod preconditioner;
mod projected;
mod rest;
mod reversible;
mod rms_prop;
mod root;
mod sampled;
mod solve;
mod sweep;
mod weight_decay;

pub use adam::Adam;
pub use aggregated::{Aggregated, Weight};
pub use clipped::Clipped;
pub use coefficient::Coefficient;
pub(crate) use coefficient::Now;
pub use custom::{Custom, Entries, Nothing};
pub use descent::{Descended, Descent};
pub use gd::Gd;
use inherit::inherit;
pub(crate) use lookahead::Lookahead;
pub use momentum::Momentum;
pub use nesterov::Nesterov;
pub use plan::{Plan, Tape};
pub use preconditioned::Preconditioned;
pub use preconditioner::{Diagonal, Kronecker, Preconditioner};
pub use projected::Projected;
pub(crate) use rest::LastStep;
use rest::steady_step;
pub use reversible::{ReversibleMomentum, ReversibleTape};
pub use rms_prop::RmsProp;
use root::Root;
use sampled::Sampled;
pub use solve::LowerSolve;
pub(crate) use solve::SolvedLower;
pub use sweep::{Pulled, pull_back, push_forward};
pub(crate) use sweep::{pull_back_by, push_forward_by};
pub use weight_decay::WeightDecay;

use std::cell::OnceCell;
use std::fmt::Debug;

use auto_impl::auto_impl;
use bilevel_program::Vector;
use burn::tensor::Tensor;

use crate::{Curvature, Error, Loss, LowerProblem, Samples, Snapshot, WeightedSum};

/// What a dynamics passes from step to step; also a tangent or an adjoint of it.
#[derive(Clone, Debug)]
pub struct State {
    /// The lower variable.
    pub y: Vector,
    /// The optimiser's own memory, such as velocities; empty for plain descent.
    pub memory: Vec<Vector>,
}

impl State {
    /// A state with y and a memory of zeros like that of `self`: the adjoint of a loss of y alone.
    pub fn of_y(&self, y: Vector) -> Self {
        Self { y, memory: self.memory.iter().map(Vector::zeros_like).collect() }
    }

    /// Writes y and the memory.
    pub(crate) fn save(&self, name: &str, to: &mut Snapshot) {
        to.put_vector(&format!("{name}/y"), &self.y);
        to.put_vectors(&format!("{name}/memory"), &self.memory);
    }

    /// A state like this one, read back.
    pub(crate) fn restored(&self, name: &str, from: &mut Snapshot) -> Result<Self, Error> {
        Ok(Self {
            y: from.take_vector(&format!("{name}/y"), &self.y)?,
            memory: from.take_vectors(&format!("{name}/memory"), &self.memory)?,
        })
    }
}

/// The arguments of one update `state' = U(state, g)`.
pub struct Update<'a> {
    /// The step, counted from 0.
    pub t: usize,
    /// The upper variable, for dynamics whose rates are learned.
    pub x: &'a Vector,
    /// The state before the step.
    pub state: &'a State,
    gradient: OnceCell<Vector>,
    compute: &'a dyn Fn() -> Vector,
}

impl<'a> Update<'a> {
    /// Step `t` from `state`, with the gradient that `compute` gives when it is asked for.
    pub fn new(t: usize, x: &'a Vector, state: &'a State, compute: &'a dyn Fn() -> Vector) -> Self {
        Self { t, x, state, gradient: OnceCell::new(), compute }
    }

    /// Where coefficients are evaluated.
    pub(crate) fn now(&self) -> Now<'a> {
        (self.x, self.t)
    }

    /// The gradient g. Costs a gradient of the oracle the first time it is requested.
    pub fn gradient(&self) -> &Vector {
        self.gradient.get_or_init(|| (self.compute)())
    }
}

/// A tangent of the arguments of one update.
#[derive(Clone, Debug)]
pub struct Tangent<'a> {
    /// Of x; none means zero.
    pub x: Option<&'a Vector>,
    /// Of the state.
    pub state: &'a State,
    /// Of the gradient g.
    pub gradient: &'a Vector,
}

/// The adjoint of one update.
#[derive(Clone, Debug)]
pub struct Adjoint {
    /// `(dU/dx)' lambda`; none if the update does not depend on x.
    pub x: Option<Vector>,
    /// `(dU/dstate)' lambda`.
    pub state: State,
    /// `(dU/dg)' lambda`: the direction of the second-order product.
    pub gradient: Vector,
}

/// The sum of two tangents or adjoints, where `None` is zero.
pub(crate) fn sum(a: Option<Vector>, b: Option<Vector>) -> Option<Vector> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.add(&b)),
        (a, b) => a.or(b),
    }
}

/// A first-order optimiser of the lower level, as a differentiable map.
#[auto_impl(Box)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no dynamics of the lower level",
    label = "not a rule for y's steps",
    note = "gradient descent: `Gd::new(step_size)?`",
    note = "the constructors check their arguments and give a `Result`: is a `?` missing?"
)]
pub trait Dynamics: Debug + Send + Sync {
    /// The name with the settings, such as `gd(step size 0.1)`.
    fn describe(&self) -> String;

    /// Whether the dynamics fits these variables. Called before the steps from y at x.
    ///
    /// # Errors
    /// If not, such as a learned rate that x does not have.
    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        let _ = (x, y);
        Ok(())
    }

    /// What step `t` descends: f by default.
    fn objective(&self, t: usize) -> WeightedSum {
        let _ = t;
        WeightedSum::LOWER
    }

    /// The data of step `t`: by default those of the hypergradient, `given`. Must depend only on the arguments: a
    /// reverse sweep calls it again.
    fn samples(&self, t: usize, given: Samples) -> Samples {
        let _ = t;
        given
    }

    /// Whether f should decrease over the steps, so that an increase is worth a warning: not if something other than f
    /// is descended.
    fn lowers_f(&self) -> bool {
        self.objective(0) == WeightedSum::LOWER
    }

    /// The state that starts at `y`.
    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: Vec::new() }
    }

    /// The adjoint of [`Dynamics::start`]: y's own, unless the memory also starts from y.
    fn start_adjoint(&self, adjoint: State) -> Vector {
        adjoint.y
    }

    /// The state before step `t` where y is held and every gradient is `slope`: with what the memory becomes, such as the
    /// velocity `-s g / (1 - m)`. By default that of the start.
    fn steady(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> State {
        let _ = (t, x, slope);
        self.start(y)
    }

    /// The point where the gradient of step `t` is taken: y by default. A linear function of the state, and so its own
    /// tangent.
    fn query(&self, t: usize, state: &State) -> Vector {
        let _ = t;
        state.y.clone()
    }

    /// The adjoint of [`Dynamics::query`]: adds its part to the adjoint of the state.
    fn query_adjoint(&self, t: usize, at_query: &Vector, adjoint: State) -> State {
        let _ = t;
        State { y: adjoint.y.add(at_query), memory: adjoint.memory }
    }

    /// In how many entries of the state after `t` steps the slope of a step is bounded only by a small number in the
    /// settings, such as the eps of [`Adam`] at rest; of shape `[1]`. None if there is no such bound.
    fn at_rest(&self, t: usize, state: &State) -> Option<Tensor<1>> {
        let _ = (t, state);
        None
    }

    /// What vanishes where y is at rest at step `t`, from the gradient `slope` of [`Dynamics::objective`] there, if the
    /// steps constrain y or add a penalty; otherwise none, and `slope` itself vanishes.
    fn optimality(&self, t: usize, x: &Vector, y: &Vector, slope: &Vector) -> Option<Vector> {
        let _ = (t, x, y, slope);
        None
    }

    /// `U`: the state after the step.
    fn step(&self, at: &Update<'_>) -> State;

    /// The tangent of `U`.
    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State;

    /// The adjoint of `U`: maps the adjoint of the result to those of the arguments.
    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint;
}

/// The result of one step on a problem.
pub(crate) struct Stepped {
    /// The state after it.
    pub state: State,
    /// f where the gradient was taken, if f is descended.
    pub loss: Option<Loss>,
    /// The gradient.
    pub gradient: Vector,
}

/// [`step`], and the Hessian where it took its gradient.
pub(crate) fn step_and_curvature<'a>(
    problem: &LowerProblem<'a>,
    dynamics: &dyn Dynamics,
    t: usize,
    state: &State,
) -> (Stepped, Curvature<'a>) {
    let query = dynamics.query(t, state);
    let problem = problem.at_step(dynamics, t);
    let (loss, gradient, curvature) = problem.slope_and_curvature(dynamics.objective(t), &query);
    let computed = || gradient.clone();
    let state = dynamics.step(&Update::new(t, problem.x, state, &computed));
    (Stepped { state, loss, gradient }, curvature)
}

/// Step `t` of `dynamics` on `problem`: one gradient of each loss that it descends.
pub(crate) fn step(
    problem: &LowerProblem<'_>,
    dynamics: &dyn Dynamics,
    t: usize,
    state: &State,
) -> Stepped {
    let problem = problem.at_step(dynamics, t);
    let (loss, gradient) = problem.slope(dynamics.objective(t), &dynamics.query(t, state));
    let computed = || gradient.clone();
    let state = dynamics.step(&Update::new(t, problem.x, state, &computed));
    Stepped { state, loss, gradient }
}
