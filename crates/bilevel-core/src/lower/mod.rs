//! Lower-level dynamics: `y_{t+1} = Psi_t(y_t; x)`.
//!
//! A step of a first-order optimiser is `state' = U(state, g)` with a gradient g and a cheap
//! elementwise `U`. A dynamics gives `U`, its tangent and its adjoint; the second-order product that
//! carries a tangent into g, or the adjoint of g back to x and y, is made once for all of them, in
//! [`push_forward`] and [`pull_back`]. So a new optimiser is one small file.

mod adam;
mod aggregated;
mod clipped;
mod coefficient;
mod custom;
mod descent;
mod gd;
mod inherit;
mod lost_digits;
mod momentum;
mod nesterov;
mod plan;
mod preconditioned;
mod preconditioner;
mod projected;
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
pub use momentum::Momentum;
pub use nesterov::Nesterov;
pub use plan::{Plan, Tape};
pub use preconditioned::Preconditioned;
pub use preconditioner::{Diagonal, Kronecker, Preconditioner};
pub use projected::Projected;
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

/// What a dynamics carries from step to step; also a tangent or an adjoint of it.
#[derive(Clone, Debug)]
pub struct State {
    /// The lower variable.
    pub y: Vector,
    /// The optimiser's own memory, as velocities; empty for plain descent.
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

    /// A state like this one, as it was written.
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

    /// Where coefficients are looked at.
    pub(crate) fn now(&self) -> Now<'a> {
        (self.x, self.t)
    }

    /// The gradient g. Costs a gradient of the oracle the first time it is asked for.
    pub fn gradient(&self) -> &Vector {
        self.gradient.get_or_init(|| (self.compute)())
    }
}

/// A tangent of the arguments of one update.
#[derive(Clone, Debug)]
pub struct Tangent<'a> {
    /// Of x; none is zero.
    pub x: Option<&'a Vector>,
    /// Of the state.
    pub state: &'a State,
    /// Of the gradient g.
    pub gradient: &'a Vector,
}

/// The adjoint of one update.
#[derive(Clone, Debug)]
pub struct Adjoint {
    /// `(dU/dx)' lambda`; none where the update does not look at x.
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
    /// The name with the settings, as `gd(step size 0.1)`.
    fn describe(&self) -> String;

    /// Whether the dynamics fits these variables. Asked before the steps from y at x.
    ///
    /// # Errors
    /// If not, as for a learned rate that x does not have.
    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        let _ = (x, y);
        Ok(())
    }

    /// What step `t` descends: f, unless said otherwise.
    fn objective(&self, t: usize) -> WeightedSum {
        let _ = t;
        WeightedSum::LOWER
    }

    /// The data of step `t`: those of the hypergradient, `given`, unless said otherwise. Must depend on the arguments
    /// alone: a reverse sweep asks again.
    fn samples(&self, t: usize, given: Samples) -> Samples {
        let _ = t;
        given
    }

    /// Whether f is to fall over the steps, so that a rise of it is worth a warning: not where something
    /// else than f is descended.
    fn lowers_f(&self) -> bool {
        self.objective(0) == WeightedSum::LOWER
    }

    /// The state that starts at `y`.
    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: Vec::new() }
    }

    /// The adjoint of [`Dynamics::start`]: y's own, unless the memory starts from y too.
    fn start_adjoint(&self, adjoint: State) -> Vector {
        adjoint.y
    }

    /// The point where the gradient of step `t` is taken: y, unless said otherwise. A linear function
    /// of the state, and so its own tangent.
    fn query(&self, t: usize, state: &State) -> Vector {
        let _ = t;
        state.y.clone()
    }

    /// The adjoint of [`Dynamics::query`]: adds its part to the adjoint of the state.
    fn query_adjoint(&self, t: usize, at_query: &Vector, adjoint: State) -> State {
        let _ = t;
        State { y: adjoint.y.add(at_query), memory: adjoint.memory }
    }

    /// In how many entries of the state after `t` steps a small number in the settings is all that bounds the slope
    /// of a step, as the eps of [`Adam`] does at rest; of shape `[1]`. None where there is no such bound.
    fn at_rest(&self, t: usize, state: &State) -> Option<Tensor<1>> {
        let _ = (t, state);
        None
    }

    /// What is 0 where y is at rest, of the gradient `slope` of f there: `slope` itself, unless the steps keep y in a set or
    /// pull at it.
    fn optimality(&self, x: &Vector, y: &Vector, slope: Vector) -> Vector {
        let _ = (x, y);
        slope
    }

    /// `U`: the state after the step.
    fn step(&self, at: &Update<'_>) -> State;

    /// The tangent of `U`.
    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State;

    /// The adjoint of `U`: takes the adjoint of the result to those of the arguments.
    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint;
}

/// `(y - moved(D(y))) / s`, with the first step `D(y) = y - s slope` of a dynamics, or one as long: the gradient, of what the
/// rest of a step does with it.
fn carried(
    dynamics: &dyn Dynamics,
    (x, y, slope): (&Vector, &Vector, &Vector),
    moved: impl FnOnce(&Vector) -> Vector,
) -> Vector {
    let (state, given) = (dynamics.start(y), || slope.clone());
    let stepped = dynamics.step(&Update::new(0, x, &state, &given)).y;
    let length = y.sub(&stepped).norm();
    let scale = if length > 0.0 { slope.norm() / length } else { 1.0 };
    y.sub(&moved(&stepped)).scale(scale)
}

/// What one step on a problem gave.
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
