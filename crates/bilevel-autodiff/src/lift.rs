//! Lifting modules and vectors to a level of differentiation, and taking derivatives back down.
//!
//! A template module on the plain backend `B` and a [`Vector`] of its variables become a module on
//! `Autodiff<B>`, `Dual<B>`, `Dual<Autodiff<B>>` or `Autodiff<Dual<B>>`. Every product lifts afresh:
//! Burn's `backward` consumes the graph, and a leaf that outlives its graph would keep nodes alive.

use std::sync::Arc;

use burn::module::{AutodiffModule, Module};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn_autodiff::Autodiff;

use crate::dual::zeros_like;
use crate::vector::Replace;
use crate::{Dual, DualTensor, Layout, Vector};

/// Reverse over forward: the level on which one backward pass gives second-order products.
pub type ReverseOverForward<B> = Dual<Autodiff<B>>;

/// Forward over reverse: the level on which one backward pass gives a gradient and its derivative.
pub type ForwardOverReverse<B> = Autodiff<Dual<B>>;

/// Which variables of a module get gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// The variables are leaves: `backward` gives their gradients.
    Leaves,
    /// The variables are constants: nothing is recorded for them.
    Constants,
}

/// A module with its variables at a point, on the level `A` where gradients are tracked.
pub struct Lifted<A: Backend, M> {
    /// The module to hand to a loss.
    pub module: M,
    layout: Arc<Layout>,
    leaves: Vec<FloatTensor<A>>,
}

/// The result of a backward pass. Empty where the loss depends on no tracked variable.
pub struct Gradients<A: AutodiffBackend>(Option<A::Gradients>);

impl<B: Backend> Gradients<Autodiff<B>> {
    /// Goes back through the graph of `loss`.
    ///
    /// # Panics
    /// If the loss is not one number.
    pub fn of(loss: Tensor<Autodiff<B>, 1>) -> Self {
        let loss = one_number(loss);
        if loss.is_tracked() {
            return Self(Some(Autodiff::<B>::backward(loss)));
        }
        release::<B>(loss);
        Self(None)
    }

    /// Goes back through the tangent of `loss`: the gradient of `<grad loss, v>`.
    ///
    /// The tangent of a loss that does not move along `v`, or moves at a constant rate, has no graph:
    /// its gradient is zero.
    ///
    /// # Panics
    /// If the loss is not one number.
    pub fn of_tangent(loss: Tensor<ReverseOverForward<B>, 1>) -> Self {
        let (value, tangent) = one_number(loss).into_parts();
        if let Some(tangent) = tangent.filter(|tangent| tangent.is_tracked()) {
            drop(value);
            return Self(Some(Autodiff::<B>::backward(tangent)));
        }
        release::<B>(value);
        Self(None)
    }
}

/// Frees what was recorded for a value that nobody goes back from.
///
/// Burn frees the nodes of a graph as it goes back through it, and those of abandoned graphs whenever it
/// goes back through any. Without a backward pass the leaves of each lift would stay for ever.
fn release<B: Backend>(value: FloatTensor<Autodiff<B>>) {
    let tracked = if value.is_tracked() {
        value
    } else {
        Autodiff::<B>::float_set_require_grad(Autodiff::<B>::from_inner(value.primitive), true)
    };
    Autodiff::<B>::backward(tracked);
}

/// Burn goes back from a list of numbers as from their sum: a loss that forgot its mean must not pass.
fn one_number<L: Backend>(loss: Tensor<L, 1>) -> FloatTensor<L> {
    let [n] = loss.dims();
    assert!(n == 1, "a loss is one number, found {n}: end it with `.mean()` or `.sum()`");
    loss.into_primitive().tensor()
}

impl<B: Backend, M> Lifted<Autodiff<B>, M> {
    /// Takes the gradient of the variables; zeros for those that the loss does not depend on.
    pub fn gradient(&self, grads: &mut Gradients<Autodiff<B>>) -> Vector<B> {
        let leaves = self.leaves.iter().map(|leaf| {
            let found = grads.0.as_mut().and_then(|g| Autodiff::<B>::grad_remove(leaf, g));
            found.unwrap_or_else(|| zeros_like::<B>(&Autodiff::<B>::inner(leaf.clone())))
        });
        Vector::new(self.layout.clone(), leaves.collect())
    }
}

impl<B: Backend, M> Lifted<ForwardOverReverse<B>, M> {
    /// Takes the gradient of the variables and its derivative along the direction of the lift.
    pub fn gradient_and_tangent(
        &self,
        grads: &mut Gradients<ForwardOverReverse<B>>,
    ) -> (Vector<B>, Vector<B>) {
        let (mut gradient, mut tangent) = (Vec::new(), Vec::new());
        for leaf in &self.leaves {
            let found = grads.0.as_mut().and_then(|g| Autodiff::<Dual<B>>::grad_remove(leaf, g));
            let (value, moved) = found.map_or((None, None), |dual| {
                let (value, moved) = dual.into_parts();
                (Some(value), moved)
            });
            let zeros = || zeros_like::<B>(Autodiff::<Dual<B>>::inner(leaf.clone()).primal());
            gradient.push(value.unwrap_or_else(zeros));
            tangent.push(moved.unwrap_or_else(zeros));
        }
        (Vector::new(self.layout.clone(), gradient), Vector::new(self.layout.clone(), tangent))
    }
}

/// `module` at `point` on `Autodiff<B>`.
pub fn lift_reverse<B: Backend, M>(
    module: &M::InnerModule,
    point: &Vector<B>,
    track: Track,
) -> Lifted<Autodiff<B>, M>
where
    M: AutodiffModule<Autodiff<B>>,
{
    let leaves = leaves::<B>(point.leaves(), track);
    lifted(M::from_inner(module.clone()), point, leaves.clone(), leaves)
}

/// `module` at `point` on `Dual<B>`, moving along `direction` (`None`: standing still).
pub fn lift_forward<B: Backend, M>(
    module: &M::InnerModule,
    point: &Vector<B>,
    direction: Option<&Vector<B>>,
) -> M
where
    M: AutodiffModule<Dual<B>>,
{
    let duals = duals::<B>(point.leaves(), along(point, direction));
    lifted::<B, Dual<B>, Dual<B>, M>(M::from_inner(module.clone()), point, duals, Vec::new()).module
}

/// `module` at `point` on `Dual<Autodiff<B>>`, moving along `direction`.
pub fn lift_reverse_over_forward<B: Backend, R, M>(
    module: &R::InnerModule,
    point: &Vector<B>,
    direction: Option<&Vector<B>>,
    track: Track,
) -> Lifted<Autodiff<B>, M>
where
    R: AutodiffModule<Autodiff<B>>,
    M: AutodiffModule<ReverseOverForward<B>, InnerModule = R>,
{
    let leaves = leaves::<B>(point.leaves(), track);
    let tangents = along(point, direction).map(|v| self::leaves::<B>(v, Track::Constants));
    let duals = duals::<Autodiff<B>>(&leaves, tangents.as_deref());
    lifted(M::from_inner(R::from_inner(module.clone())), point, duals, leaves)
}

/// `module` at `point` on `Autodiff<Dual<B>>`, moving along `direction`.
pub fn lift_forward_over_reverse<B: Backend, F, M>(
    module: &F::InnerModule,
    point: &Vector<B>,
    direction: Option<&Vector<B>>,
    track: Track,
) -> Lifted<ForwardOverReverse<B>, M>
where
    F: AutodiffModule<Dual<B>>,
    M: AutodiffModule<ForwardOverReverse<B>, InnerModule = F>,
{
    let duals = duals::<B>(point.leaves(), along(point, direction));
    let leaves = leaves::<Dual<B>>(&duals, track);
    lifted(M::from_inner(F::from_inner(module.clone())), point, leaves.clone(), leaves)
}

/// Sets the variables of a module that has already been lifted: running statistics are shared
/// between clones and mapped in place, so that lifting must come first.
fn lifted<B: Backend, L: Backend, A: Backend, M: Module<L>>(
    module: M,
    point: &Vector<B>,
    values: Vec<FloatTensor<L>>,
    leaves: Vec<FloatTensor<A>>,
) -> Lifted<A, M> {
    let layout = point.layout().clone();
    let module = module.map(&mut Replace::new(&layout, values));
    Lifted { module, layout, leaves }
}

fn leaves<B: Backend>(values: &[FloatTensor<B>], track: Track) -> Vec<FloatTensor<Autodiff<B>>> {
    let lift = |value: &FloatTensor<B>| {
        let leaf = Autodiff::<B>::from_inner(value.clone());
        match track {
            Track::Leaves => Autodiff::<B>::float_set_require_grad(leaf, true),
            Track::Constants => leaf,
        }
    };
    values.iter().map(lift).collect()
}

/// The leaves of a direction, which must be one of the point's module.
fn along<'a, B: Backend>(
    point: &Vector<B>,
    direction: Option<&'a Vector<B>>,
) -> Option<&'a [FloatTensor<B>]> {
    direction.map(|direction| {
        point.check_same(direction);
        direction.leaves()
    })
}

fn duals<B: Backend>(
    values: &[FloatTensor<B>],
    tangents: Option<&[FloatTensor<B>]>,
) -> Vec<DualTensor<B>> {
    match tangents {
        None => values.iter().cloned().map(DualTensor::constant).collect(),
        Some(tangents) => values
            .iter()
            .zip(tangents)
            .map(|(value, tangent)| DualTensor::new(value.clone(), tangent.clone()))
            .collect(),
    }
}
