//! Upper steps by the optimisers of burn-optim.

use std::fmt::Debug;

use auto_impl::auto_impl;
use bilevel_program::{Layout, Leaf, Vector, plain};
use burn::backend::DispatchTensor;
use burn::grad_clipping::GradientClipping;
use burn::lr_scheduler::LrSchedulerRecord;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::Module;
use burn::optim::DynState;
use burn::tensor::{Bytes, Tensor, TensorData};

use super::OptimizerMemory;
use crate::check::named;
use crate::{Error, Schedule, Snapshot, Variable};

/// A rule that maps x and the hypergradient to the next x.
#[auto_impl(Box)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not move x",
    label = "not a step of the upper level",
    note = "an optimiser of Burn: `BurnOptimizer::new(config.build(), &x, rate)?`; a plain step: `GradientStep::new(rate)?`",
    note = "the constructors check their arguments and give a `Result`: is a `?` missing?"
)]
pub trait UpperStep {
    /// Whether the rule fits an x of these variables: any by default. Called before each step of a solver.
    ///
    /// # Errors
    /// If not, such as an optimiser for another module.
    fn check(&self, x: &Layout) -> Result<(), Error> {
        let _ = x;
        Ok(())
    }

    /// One step.
    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector;

    /// Writes its memory between steps: nothing, if there is none.
    fn save(&self, to: &mut Snapshot);

    /// Reads it back. Vectors are like `x`.
    ///
    /// # Errors
    /// If it is not the memory of this rule. Entries left in `from` are an error of the solver, so that a rule that
    /// saves but does not restore is found.
    fn restore(&mut self, from: &mut Snapshot, x: &Vector) -> Result<(), Error> {
        let _ = (from, x);
        Ok(())
    }
}

/// An optimiser of burn-optim, as made by `AdamConfig::new().build()`: any whose memory can be saved
/// ([`OptimizerMemory`]), with a rate that is a number, a [`Schedule`] or one of Burn's learning-rate schedulers. A
/// parameter that occurs at several places of the module is one variable, and moves once per step.
pub struct BurnOptimizer<O: OptimizerMemory> {
    optimizer: O,
    clipping: Option<GradientClipping>,
    learning_rate: Rate,
    /// The layout of x.
    like: Vector,
    /// The memory of the optimiser for each variable, once it has been moved.
    memory: Vec<Option<DynState>>,
}

/// The learning rate of each step.
enum Rate {
    /// A schedule, and the number of steps made.
    Schedule(Schedule, usize),
    /// A scheduler of Burn, which counts by itself.
    Burn(ModuleLrScheduler),
}

impl Rate {
    fn next(&mut self) -> ModuleLearningRate {
        match self {
            Self::Schedule(schedule, made) => {
                *made += 1;
                schedule.at(*made - 1).into()
            }
            Self::Burn(scheduler) => scheduler.step(),
        }
    }

    fn save(&self, to: &mut Snapshot) {
        match self {
            Self::Schedule(Schedule::Constant(_), _) => {}
            Self::Schedule(_, made) => to.put_count("made", *made),
            Self::Burn(scheduler) => {
                let record = bytes(scheduler);
                let size = record.len();
                to.put_data("scheduler", TensorData::new(record, [size]));
            }
        }
    }

    fn restore(&mut self, from: &mut Snapshot) -> Result<(), Error> {
        match self {
            Self::Schedule(Schedule::Constant(_), _) => {}
            Self::Schedule(_, made) => *made = from.take_count("made")?,
            Self::Burn(scheduler) => {
                let taken = from.take_bytes("scheduler")?;
                let record = LrSchedulerRecord::from_bytes(Bytes::from_bytes_vec(taken.clone()));
                if let Ok(record) = record {
                    *scheduler = scheduler.clone().load_record(record);
                }
                // Burn ignores the record of another kind of scheduler.
                if bytes(scheduler) != taken {
                    return Err(Error::Snapshot {
                        entry: "scheduler".into(),
                        found: "the record of another learning-rate scheduler".into(),
                        expected: "that of this one".into(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn bytes(scheduler: &ModuleLrScheduler) -> Vec<u8> {
    scheduler.to_record().into_bytes().expect("a record of numbers has bytes").to_vec()
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
    /// `optimizer` on the variables of `module`; the learning rate is a number or a [`Schedule`] over the upper steps.
    ///
    /// # Errors
    /// If the learning rate is not finite and positive, or the module has no trainable parameters.
    pub fn new<M: Module>(
        optimizer: O,
        module: &M,
        learning_rate: impl Into<Schedule>,
    ) -> Result<Self, Error> {
        let learning_rate = learning_rate.into().positive("upper learning rate")?;
        let learning_rate = Rate::Schedule(learning_rate, 0);
        let like = Vector::from_module(&Layout::of(module), &plain(module.clone()));
        if like.leaves().is_empty() {
            return Err(Error::NoVariables { variable: Variable::X });
        }
        let memory = vec![None; like.leaves().len()];
        Ok(Self { optimizer, clipping: None, learning_rate, like, memory })
    }

    /// With gradient clipping, for each variable.
    pub fn with_clipping(mut self, clipping: GradientClipping) -> Self {
        self.clipping = Some(clipping);
        self
    }

    /// With the learning rates of a scheduler of Burn, one for all parameters or one for each group of them. It
    /// advances by one at each upper step.
    pub fn with_scheduler(mut self, scheduler: impl Into<ModuleLrScheduler>) -> Self {
        self.learning_rate = Rate::Burn(scheduler.into());
        self
    }

    fn step_leaf<const D: usize>(
        &self,
        rate: f64,
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
        let (x, memory) = self.optimizer.step(rate, x, gradient, memory);
        (x.into_dispatch(), memory.map(|memory| DynState::create(memory, D)))
    }

    fn leaves(&self) -> impl Iterator<Item = (String, &Leaf, &DispatchTensor)> {
        let leaves = self.like.layout().leaves().iter().zip(self.like.leaves());
        leaves.enumerate().map(|(at, (leaf, like))| (at.to_string(), leaf, like))
    }
}

impl<O: OptimizerMemory> UpperStep for BurnOptimizer<O> {
    // Ids do not matter: the memory is stored by position.
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
        let rates = self.learning_rate.next();
        let mut memory = std::mem::take(&mut self.memory).into_iter();
        let mut leaves = x.layout().leaves().iter();
        let mut next = Vec::with_capacity(x.leaves().len());
        let moved = x.zip(gradient, |x, gradient| {
            let leaf = leaves.next().expect("one tensor a variable");
            let memory = memory.next().flatten();
            let rate = rates.lr_from_param(leaf.id, Some(&leaf.path));
            let (x, memory) = with_rank!(leaf, D => self.step_leaf::<D>(rate, x, gradient, memory));
            next.push(memory);
            x
        });
        self.memory = next;
        moved
    }

    // By its position: the id of a parameter is random.
    fn save(&self, to: &mut Snapshot) {
        self.learning_rate.save(to);
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

    fn restore(&mut self, from: &mut Snapshot, _: &Vector) -> Result<(), Error> {
        self.learning_rate.restore(from)?;
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
        f.debug_struct("BurnOptimizer").field("like", self.like.layout()).finish_non_exhaustive()
    }
}
