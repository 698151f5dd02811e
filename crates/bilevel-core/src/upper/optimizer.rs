//! Upper steps by the optimisers of burn-optim.

use std::fmt::Debug;

use bilevel_autodiff::{Track, Vector, lift_reverse};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};

use crate::Error;
use crate::error::positive;

/// A rule that takes x and the hypergradient to the next x.
pub trait UpperStep<B: Backend> {
    /// One step.
    fn step(&mut self, x: &Vector<B>, gradient: &Vector<B>) -> Vector<B>;
}

/// Any optimiser of burn-optim, as `AdamConfig::new().init()` builds it.
pub struct BurnOptimizer<B: Backend, M: AutodiffModule<Autodiff<B>>, O> {
    optimizer: O,
    module: M::InnerModule,
    learning_rate: f64,
}

impl<B, M, O> BurnOptimizer<B, M, O>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    O: Optimizer<M, Autodiff<B>>,
{
    /// `optimizer` on the variables of `module`.
    ///
    /// # Errors
    /// If the learning rate is not finite and positive.
    pub fn new(optimizer: O, module: &M, learning_rate: f64) -> Result<Self, Error> {
        let learning_rate = positive("upper learning rate", learning_rate)?;
        Ok(Self { optimizer, module: module.valid(), learning_rate })
    }
}

impl<B, M, O> UpperStep<B> for BurnOptimizer<B, M, O>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    O: Optimizer<M, Autodiff<B>>,
{
    fn step(&mut self, x: &Vector<B>, gradient: &Vector<B>) -> Vector<B> {
        let module = lift_reverse::<B, M>(&self.module, x, Track::Leaves).module;
        let mut register = Register { gradient, params: GradientsParams::new() };
        module.visit(&mut register);
        let moved = self.optimizer.step(self.learning_rate, module, register.params);
        Vector::from_module(x.layout(), &moved.valid())
    }
}

/// Hands the parts of a vector to Burn, each under the identity of its parameter.
struct Register<'a, B: Backend> {
    gradient: &'a Vector<B>,
    params: GradientsParams,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Register<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(at) = self.gradient.layout().position(param.id) {
            let part = TensorPrimitive::Float(self.gradient.leaves()[at].clone());
            self.params.register::<B, D>(param.id, Tensor::from_primitive(part));
        }
    }
}

impl<B: Backend, M: AutodiffModule<Autodiff<B>>, O> Debug for BurnOptimizer<B, M, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnOptimizer").field("learning_rate", &self.learning_rate).finish()
    }
}
