//! Upper steps by the optimisers of burn-optim.

use std::fmt::Debug;

use auto_impl::auto_impl;
use bilevel_program::{Layout, Leaf, Vector, plain};
use burn::backend::DispatchTensor;
use burn::grad_clipping::GradientClipping;
use burn::module::Module;
use burn::optim::DynState;
use burn::tensor::Tensor;

use super::OptimizerMemory;
use crate::check::named;
use crate::error::positive;
use crate::{Error, Snapshot};

/// A rule that takes x and the hypergradient to the next x.
#[auto_impl(Box)]
pub trait UpperStep {
    /// Whether the rule fits an x of these variables: any, unless said otherwise. Asked before each step of a solver.
    ///
    /// # Errors
    /// If not, as an optimiser that was made for another module.
    fn check(&self, x: &Layout) -> Result<(), Error> {
        let _ = x;
        Ok(())
    }

    /// One step.
    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector;

    /// Writes what it remembers from step to step: nothing, if there is nothing.
    fn save(&self, to: &mut Snapshot);

    /// Takes that back.
    ///
    /// # Errors
    /// If it is not what this rule remembers. What is left in `from` is an error of the solver's, so that a
    /// rule that saves and does not restore is found.
    fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        let _ = from;
        Ok(())
    }
}

/// An optimiser of burn-optim, as `AdamConfig::new().build()` makes it: any whose memory can be saved
/// ([`OptimizerMemory`]). A parameter that stands at several places of the module is one variable, and moves once a step.
pub struct BurnOptimizer<O: OptimizerMemory> {
    optimizer: O,
    clipping: Option<GradientClipping>,
    learning_rate: f64,
    /// What x looks like.
    like: Vector,
    /// What the optimiser remembers of each variable, once it was moved.
    memory: Vec<Option<DynState>>,
}

/// Evaluates an expression with the rank of a tensor as a constant.
macro_rules! with_rank {
    ($leaf:expr, $rank:ident => $then:expr) => {
        with_rank!($leaf, $rank => $then; 0 1 2 3 4 5 6 7 8)
    };
    ($leaf:expr, $rank:ident => $then:expr; $($number:literal)*) => {
        match $leaf.shape.num_dims() {
            $($number => {
                const $rank: usize = $number;
                $then
            })*
            more => panic!("`{}` has {more} axes, expected 8 at most: reshape it", $leaf.path),
        }
    };
}

impl<O: OptimizerMemory> BurnOptimizer<O> {
    /// `optimizer` on the variables of `module`.
    ///
    /// # Errors
    /// If the learning rate is not finite and positive.
    pub fn new<M: Module>(optimizer: O, module: &M, learning_rate: f64) -> Result<Self, Error> {
        let learning_rate = positive("upper learning rate", learning_rate)?;
        let like = Vector::from_module(&Layout::of(module), &plain(module.clone()));
        let memory = vec![None; like.leaves().len()];
        Ok(Self { optimizer, clipping: None, learning_rate, like, memory })
    }

    /// With the gradient of each variable clipped.
    pub fn with_clipping(mut self, clipping: GradientClipping) -> Self {
        self.clipping = Some(clipping);
        self
    }

    fn step_leaf<const D: usize>(
        &self,
        x: DispatchTensor,
        gradient: DispatchTensor,
        memory: Option<DynState>,
    ) -> (DispatchTensor, Option<DynState>) {
        let (x, gradient) = (Tensor::<D>::from_dispatch(x), Tensor::<D>::from_dispatch(gradient));
        let gradient = match &self.clipping {
            Some(clipping) => clipping.clip_gradient(gradient),
            None => gradient,
        };
        let memory =
            memory.map(|memory| O::to_device(memory.downcast::<O::State<D>>(), &x.device()));
        let (x, memory) = self.optimizer.step(self.learning_rate, x, gradient, memory);
        (x.into_dispatch(), memory.map(|memory| DynState::create(memory, D)))
    }

    fn leaves(&self) -> impl Iterator<Item = (String, &Leaf, &DispatchTensor)> {
        let leaves = self.like.layout().leaves().iter().zip(self.like.leaves());
        leaves.enumerate().map(|(at, (leaf, like))| (at.to_string(), leaf, like))
    }
}

impl<O: OptimizerMemory> UpperStep for BurnOptimizer<O> {
    // Identities do not count: what is remembered goes by position.
    fn check(&self, x: &Layout) -> Result<(), Error> {
        let (found, expected) = (named(x), named(self.like.layout()));
        if found == expected {
            return Ok(());
        }
        Err(Error::UpperVariable {
            what: "optimiser of x",
            found: found.join(", "),
            expected: expected.join(", "),
            cure: "build the optimiser on the module that the oracle's x was built from",
        })
    }

    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector {
        let mut memory = std::mem::take(&mut self.memory).into_iter();
        let mut leaves = x.layout().leaves().iter();
        let mut next = Vec::with_capacity(x.leaves().len());
        let moved = x.zip(gradient, |x, gradient| {
            let leaf = leaves.next().expect("one tensor a variable");
            let memory = memory.next().flatten();
            let (x, memory) = with_rank!(leaf, D => self.step_leaf::<D>(x, gradient, memory));
            next.push(memory);
            x
        });
        self.memory = next;
        moved
    }

    // Under its position: the identity of a parameter is drawn at random.
    fn save(&self, to: &mut Snapshot) {
        for ((name, leaf, like), memory) in self.leaves().zip(&self.memory) {
            let Some(memory) = memory else { continue };
            to.put_within(&name, |to| {
                with_rank!(leaf, D => {
                    let like = Tensor::<D>::from_dispatch(like.clone());
                    O::save(memory.downcast_ref::<O::State<D>>(), &like, to);
                });
            });
        }
    }

    fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        let mut memory = Vec::with_capacity(self.memory.len());
        for (name, leaf, like) in self.leaves() {
            let found = from.has(&name).then(|| {
                from.take_within(&name, |from| {
                    with_rank!(leaf, D => {
                        let like = Tensor::<D>::from_dispatch(like.clone());
                        Ok(DynState::create(O::restore::<D>(from, &like)?, D))
                    })
                })
            });
            memory.push(found.transpose()?);
        }
        self.memory = memory;
        Ok(())
    }
}

impl<O: OptimizerMemory> Debug for BurnOptimizer<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnOptimizer")
            .field("learning_rate", &self.learning_rate)
            .finish_non_exhaustive()
    }
}
