//! Your own step, as a function.

use std::fmt::{Debug, Formatter};

use bilevel_program::Vector;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::{Adjoint, Dynamics, State, Tangent, Update};
use crate::Error;
use crate::map::{Map, Of, Place};
use crate::vector_ops::{flatten, unflatten};

/// A part of x without variables: for steps with nothing learned.
pub type Nothing = Option<Param<Tensor<1>>>;

/// The numbers of a state: y, and each memory, as one list of all entries of y, variable by variable.
#[derive(Clone, Debug)]
pub struct Entries {
    /// All entries of y.
    pub y: Tensor<1>,
    /// The memories, each of as many entries; zeros before the first step.
    pub memory: Vec<Tensor<1>>,
}

/// `custom`: `state' = U(x, state, g; t)` with your own function U, whose tangent and adjoint are derived as programs.
///
/// The function takes a part of x, as a module; the [`Entries`] of the state; the gradient of f at y, in the same
/// order; and the step t, of shape `[1]`, as a tensor, so that one recording serves all steps. It may be any function
/// that a loss may be: a network with learned weights that is applied to each entry, a rate for each step, clipping by
/// a norm. Sums over all entries are allowed.
///
/// Costs a replay of U per step and one of its derivative per backward step, at which the gradient is computed again; a
/// dynamics written by hand, such as [`Gd`](crate::Gd), is cheaper by a constant factor.
///
/// ```
/// # use bilevel_core::*;
/// # use burn::module::Param;
/// # use burn::tensor::{Int, Tensor};
/// # fn main() -> Result<(), Error> {
/// # let device = Default::default();
/// // A learned rate for each of 10 steps, as exp(u_t); u is x, or a part of it.
/// let u = Param::<Tensor<1>>::from_tensor(Tensor::full([10], -2.0, &device));
/// let step = |u: &Param<Tensor<1>>, at: Entries, g: Tensor<1>, t: Tensor<1, Int>| Entries {
///     y: at.y - g * u.val().select(0, t).exp(),
///     memory: at.memory,
/// };
/// let descent = Descent::new(Custom::learned("rates", "", &u, step), 10)?;
/// # Ok(())
/// # }
/// ```
pub struct Custom<X, U> {
    name: String,
    memories: usize,
    map: Map<X>,
    update: U,
}

impl<U> Custom<Nothing, U>
where
    U: Fn(&Nothing, Entries, Tensor<1>, Tensor<1, Int>) -> Entries + Send + Sync,
{
    /// A step without anything learned.
    pub fn new(name: impl Into<String>, update: U) -> Self {
        Self::learned(name, "", &None, update)
    }
}

impl<X: Module, U> Custom<X, U>
where
    U: Fn(&X, Entries, Tensor<1>, Tensor<1, Int>) -> Entries + Send + Sync,
{
    /// A step with the part of x at `path`, a module like `x`; all of x at `""`.
    pub fn learned(name: impl Into<String>, path: &str, x: &X, update: U) -> Self {
        Self { name: name.into(), memories: 0, map: Map::new(path, x, [2, 1]), update }
    }

    /// With this many memories, which are 0 before the first step: velocities, moments.
    pub fn with_memory(self, memories: usize) -> Self {
        Self { memories, map: self.map.with_lists([2 + memories, 1 + memories]), ..self }
    }

    /// U on lists: y, g and the memories.
    fn on_lists(&self) -> Box<Of<'_, X>> {
        Box::new(|x, mut lists, t| {
            let memory = lists.split_off(2);
            let gradient = lists.pop().expect("the gradient");
            let y = lists.pop().expect("y");
            let Entries { y, memory } = (self.update)(x, Entries { y, memory }, gradient, t);
            [vec![y], memory].concat()
        })
    }
}

/// y, g and the memories.
fn lists(state: &State, gradient: &Vector) -> Vec<Tensor<1>> {
    [&state.y, gradient].into_iter().chain(&state.memory).map(flatten).collect()
}

/// The state from lists of y and the memories.
fn state(lists: &[Tensor<1>], like: &Vector) -> State {
    let mut vectors = lists.iter().map(|list| unflatten(list, like));
    State { y: vectors.next().expect("y"), memory: vectors.collect() }
}

impl<X: Module + Sync, U> Dynamics for Custom<X, U>
where
    U: Fn(&X, Entries, Tensor<1>, Tensor<1, Int>) -> Entries + Send + Sync,
{
    fn describe(&self) -> String {
        format!("custom({})", self.name)
    }

    fn check(&self, x: &Vector, y: &Vector) -> Result<(), Error> {
        let what = format!("the step `{}`", self.name);
        self.map.check(&what, x, &flatten(y), &self.on_lists())
    }

    // What the function does is not known: a learned optimiser may increase f before it is trained.
    fn lowers_f(&self) -> bool {
        false
    }

    fn start(&self, y: &Vector) -> State {
        State { y: y.clone(), memory: vec![y.zeros_like(); self.memories] }
    }

    fn step(&self, at: &Update<'_>) -> State {
        let lists = lists(at.state, at.gradient());
        let place = Place { x: at.x, lists: &lists, t: at.t };
        state(&self.map.values(place, &self.on_lists()), &at.state.y)
    }

    fn tangent(&self, at: &Update<'_>, along: Tangent<'_>) -> State {
        let here = lists(at.state, at.gradient());
        let place = Place { x: at.x, lists: &here, t: at.t };
        let moved = lists(along.state, along.gradient);
        state(&self.map.tangent(place, along.x, &moved, &self.on_lists()), &at.state.y)
    }

    fn adjoint(&self, at: &Update<'_>, adjoint: State) -> Adjoint {
        let here = lists(at.state, at.gradient());
        let place = Place { x: at.x, lists: &here, t: at.t };
        let weights: Vec<_> =
            [&adjoint.y].into_iter().chain(&adjoint.memory).map(flatten).collect();
        let (x, mut pulled) = self.map.adjoint(place, &weights, &self.on_lists());
        let gradient = unflatten(&pulled.remove(1), &at.state.y);
        Adjoint { x, state: state(&pulled, &at.state.y), gradient }
    }
}

impl<X, U> Debug for Custom<X, U> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).finish_non_exhaustive()
    }
}
