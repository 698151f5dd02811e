//! Upper steps by the optimisers of burn-optim.

use std::fmt::Debug;
use std::sync::Arc;

use bilevel_autodiff::{Layout, Track, Vector, lift_reverse};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};

use super::OptimizerMemory;
use crate::error::positive;
use crate::{Error, Snapshot};

/// A rule that takes x and the hypergradient to the next x.
pub trait UpperStep<B: Backend> {
    /// One step.
    fn step(&mut self, x: &Vector<B>, gradient: &Vector<B>) -> Vector<B>;

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

impl<B: Backend, U: UpperStep<B> + ?Sized> UpperStep<B> for Box<U> {
    fn step(&mut self, x: &Vector<B>, gradient: &Vector<B>) -> Vector<B> {
        (**self).step(x, gradient)
    }

    fn save(&self, to: &mut Snapshot) {
        (**self).save(to);
    }

    fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        (**self).restore(from)
    }
}

/// An optimiser of burn-optim, as `AdamConfig::new().init()` builds it: any whose memory can be saved
/// ([`OptimizerMemory`]).
pub struct BurnOptimizer<B: Backend, M: AutodiffModule<Autodiff<B>>, O: OptimizerMemory<B>> {
    optimizer: OptimizerAdaptor<O, M, Autodiff<B>>,
    module: M::InnerModule,
    layout: Arc<Layout>,
    learning_rate: f64,
}

/// What the optimiser keeps of each parameter, under its identity.
type Records<B, M, O> = <OptimizerAdaptor<O, M, Autodiff<B>> as Optimizer<M, Autodiff<B>>>::Record;

impl<B, M, O> BurnOptimizer<B, M, O>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    O: OptimizerMemory<B>,
{
    /// `optimizer` on the variables of `module`.
    ///
    /// # Errors
    /// If the learning rate is not finite and positive.
    pub fn new(
        optimizer: OptimizerAdaptor<O, M, Autodiff<B>>,
        module: &M,
        learning_rate: f64,
    ) -> Result<Self, Error> {
        let learning_rate = positive("upper learning rate", learning_rate)?;
        Ok(Self { optimizer, module: module.valid(), layout: Layout::of(module), learning_rate })
    }
}

impl<B, M, O> UpperStep<B> for BurnOptimizer<B, M, O>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    O: OptimizerMemory<B>,
{
    fn step(&mut self, x: &Vector<B>, gradient: &Vector<B>) -> Vector<B> {
        let module = lift_reverse::<B, M>(&self.module, x, Track::Leaves).module;
        let mut register = Register { gradient, params: GradientsParams::new() };
        module.visit(&mut register);
        let moved = self.optimizer.step(self.learning_rate, module, register.params);
        Vector::from_module(x.layout(), &moved.valid())
    }

    fn save(&self, to: &mut Snapshot) {
        let records = self.optimizer.to_record();
        self.module.visit(&mut Save::<B, M, O> { layout: &self.layout, records, to });
    }

    fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        let records = Records::<B, M, O>::default();
        let mut restore = Restore::<B, M, O> { layout: &self.layout, records, from, error: None };
        self.module.visit(&mut restore);
        let Restore { records, error, .. } = restore;
        self.optimizer = self.optimizer.clone().load_record(records);
        error.map_or(Ok(()), Err)
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

/// Writes what the optimiser keeps of each parameter, under its position: its identity is drawn at random.
struct Save<'a, B: Backend, M: AutodiffModule<Autodiff<B>>, O: OptimizerMemory<B>> {
    layout: &'a Layout,
    records: Records<B, M, O>,
    to: &'a mut Snapshot,
}

impl<B, M, O> ModuleVisitor<B> for Save<'_, B, M, O>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    O: OptimizerMemory<B>,
{
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(at) = self.layout.position(param.id) else { return };
        if let Some(record) = self.records.get(&param.id) {
            let memory = record.clone().into_state::<D>();
            self.to.put_within(&at.to_string(), |to| O::save(&memory, &param.val(), to));
        }
    }
}

/// The way back.
struct Restore<'a, B: Backend, M: AutodiffModule<Autodiff<B>>, O: OptimizerMemory<B>> {
    layout: &'a Layout,
    records: Records<B, M, O>,
    from: &'a mut Snapshot,
    error: Option<Error>,
}

impl<B, M, O> ModuleVisitor<B> for Restore<'_, B, M, O>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    O: OptimizerMemory<B>,
{
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(at) = self.layout.position(param.id) else { return };
        let name = at.to_string();
        if self.error.is_some() || !self.from.has(&name) {
            return;
        }
        match self.from.take_within(&name, |from| O::restore(from, &param.val())) {
            Ok(memory) => {
                self.records.insert(param.id, AdaptorRecord::from_state(memory));
            }
            Err(error) => self.error = Some(error),
        }
    }
}

impl<B, M, O> Debug for BurnOptimizer<B, M, O>
where
    B: Backend,
    M: AutodiffModule<Autodiff<B>>,
    O: OptimizerMemory<B>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnOptimizer").field("learning_rate", &self.learning_rate).finish()
    }
}
