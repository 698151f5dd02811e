//! Bilevel optimisation on [Burn](https://burn.dev): `min_x F(x, y*(x))` with `y*(x)` in
//! `argmin_y f(x, y)`, by exact hypergradients, on any Burn device.
//!
//! ```
//! use bilevel_core::*;
//! use burn::module::Param;
//! use burn::tensor::Tensor;
//!
//! /// For which penalty exp(x) is the fit y to 3 equal to 1?
//! struct Penalty;
//!
//! impl BilevelProblem for Penalty {
//!     type Upper = Param<Tensor<1>>; // x, any Burn module
//!     type Lower = Param<Tensor<1>>; // y, any Burn module
//!     type Batch = Tensor<1>; // the target
//!
//!     fn upper_loss(&self, _: &Self::Upper, y: &Self::Lower, target: &Tensor<1>) -> Tensor<1> {
//!         (y.val() - target.clone()).powi_scalar(2)
//!     }
//!
//!     fn lower_loss(&self, x: &Self::Upper, y: &Self::Lower, target: &Tensor<1>) -> Tensor<1> {
//!         (y.val() - target.clone()).powi_scalar(2) + x.val().exp() * y.val().powi_scalar(2)
//!     }
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let device = Default::default();
//! let x = Param::from_data([0.0], &device);
//! let y = Param::from_data([0.0], &device);
//! let target = |value: f32| Tensor::from_data([value], &device);
//! let data = FullBatch { upper: target(1.0), lower: target(3.0) };
//! let method = Unrolled::rad(Descent::new(Gd::new(0.1)?, 50)?);
//! let upper = BurnOptimizer::new(burn::optim::AdamConfig::new().build(), &x, 0.05)?;
//! let solution = descend(Penalty, &x, &y, data, method, upper, 200)?;
//! // y*(x) = 3 / (1 + exp(x)), which is 1 at exp(x) = 2.
//! let exp: f32 = solution.x.val().exp().into_scalar();
//! assert!((exp - 2.0).abs() < 0.01);
//! # Ok(())
//! # }
//! ```
//!
//! # Structure
//!
//! ```text
//! problem -> oracle -> lower dynamics -> hypergradient -> solver -> executor -> observers
//! ```
//!
//! Each part knows its neighbours by a trait, and every trait may be implemented outside of the crate.
//!
//! | part | trait | in this crate |
//! |---|---|---|
//! | [`problem`]: the two losses | [`BilevelProblem`] | yours |
//! | data: a batch for each [`Sample`] | [`Data`] | [`FullBatch`], [`Batches`] |
//! | constraints that couple x and y | [`Constraints`] | those of the [problem](BilevelProblem::constraints) |
//! | oracle: values, gradients, products, and their [`Cost`] | [`Oracle`] | [`AutodiffOracle`], [`SplitOracle`], [`FeatureOracle`]; [`BarrierOracle`] for constraints, [`Nested`] for three levels |
//! | [`lower`]: steps of y, and their adjoints | [`Dynamics`]; T steps of one are a [`Descent`] | the table below |
//! | [`linear`]: `A q = b` by products | [`LinearSolver`] | [`Cg`], [`NormalCg`], [`Gmres`], [`BiCgStab`], [`Neumann`], [`ApproxGrad`], [`Nystrom`], [`Identity`], [`Dense`] |
//! | [`minimise`]: the lower level solved to a tolerance, and F itself | [`Minimiser`](minimise::Minimiser) | [`Newton`], [`Lbfgs`], [`Bfgs`], [`Armijo`], [`Fista`] |
//! | [`hypergradient`]: `dF/dx` | [`HypergradientMethod`] | the methods below |
//! | [`upper`]: steps of x | [`UpperStep`] | [`BurnOptimizer`], [`GradientStep`], [`AdaptiveStep`] |
//! | [`proxy`]: learned best responses | [`Proxy`] | [`Hypernetwork`], [`Stn`], [`DeltaStn`] |
//! | [`proximal`]: constraints and non-smooth terms of both levels | [`Proximal`], [`Projection`] | [`Bounds`], [`Ball`], [`Simplex`], [`SoftThreshold`], [`ElasticNet`], [`GroupLasso`]; [`Scaled`] sets |
//! | [`joint`], [`stochastic`], [`proxy`]: steps of x and y together | [`JointMethod`], on batches of a [`Sampler`] | the tables of these modules |
//! | solver: one upper step | [`Solver`] | [`HypergradientSolver`], [`JointSolver`] |
//! | [`parallel`]: the data divided among ranks | [`Group`] | [`DataParallel`] on threads or, by `bilevel-mpi`, on many machines |
//! | executor: limits, time, seeds | [`Observer`] | [`Executor`]; all of it in one call: [`descend`]; without settings: [`solve`] |
//! | which method, and its settings, from probes on the problem | | [`suggest()`] |
//!
//! # The methods
//!
//! `docs/CHOOSING.md` in the repository says which one fits which problem, `docs/METHODS.md` has the formulas. In the
//! column of memory, a replay is what the program of one product holds while it runs, and a linearisation what all
//! products at one point share; neither grows with T, and a [`Plan`] bounds how many linearisations are kept.
//!
//! | name | type | exact for | memory | requires |
//! |---|---|---|---|---|
//! | `rad` | [`Unrolled::rad`] | T lower steps | the states of a [`Plan`] and one replay | f twice differentiable |
//! | reversible `rad` | [`ReversibleRad`] | T steps of [`ReversibleMomentum`] | one state, bits and one replay | the same |
//! | `trad` | [`Unrolled::trad`] | M = T; error `(1 - s mu)^M` | M states and one replay | a contracting dynamics |
//! | `fad` | [`Fad`] | T lower steps | n columns or a block of them, one linearisation | x of low dimension |
//! | `rtho` | [`OnlineFad`] | all steps so far, x held fixed | n columns, one linearisation | x that moves slowly |
//! | `one-stage` | [`OneStage`] | T = 1 | one state and one replay | f twice differentiable |
//! | `one-stage-fd` | [`OneStageFd`] | T = 1 up to `O(r^2)` | one replay of a gradient | no second derivatives |
//! | `first-order` | [`FirstOrder`] | `F_y = 0` | one replay of a gradient | F that depends on x directly |
//! | `maml` | [`Maml`] | T lower steps from x | as `rad` | x, or a part of it, of the shapes of y |
//! | `fomaml` | [`Fomaml`] | `s -> 0` | one replay of a gradient | as `maml`; no second derivatives |
//! | `reptile` | [`Reptile`] | no loss: `(x - y_T) / a` | one replay of a gradient | as `fomaml` |
//! | on-features | [`OnFeatures`] | what its method is | its method's, in the features | x an extractor, y a head on a [`FeatureOracle`] |
//! | `ia-gm` | [`Unrolled::ia_gm`] | T lower steps, in the start too | as `rad` | [`Start::Learned`] |
//! | `iaptt` | [`Iaptt`] | the steps to `argmax_k F(x, y_k)`, in the start too | as `rad` | [`Start::Learned`] |
//! | `cg` | [`Implicit`] with [`Cg`] | a solved lower level | one linearisation | `f_y` close to 0, `f_yy` positive definite |
//! | `newton`, `lbfgs`, `armijo`, `fista` | [`Implicit`] after [`Newton`], [`Lbfgs`], [`Armijo`], [`Fista`] | a solved lower level | one linearisation | `f_yy` positive definite at y |
//! | `normal-cg`, `approx-grad` | [`Implicit`] with [`NormalCg`], [`ApproxGrad`] | a solved lower level | one linearisation | `f_y` close to 0 |
//! | `gmres`, `bicgstab`, `dense` | [`Implicit`] with [`Gmres`], [`BiCgStab`], [`Dense`] | a solved lower level | one linearisation | `f_y` close to 0, `f_yy` nonsingular |
//! | `neumann` | [`Implicit`] with [`Neumann`] | a solved lower level, many terms | one linearisation | `f_y` close to 0, `norm(I - eta f_yy) < 1` |
//! | `nystrom` | [`Implicit`] with [`Nystrom`] | approximate | one linearisation | `f_yy` positive semidefinite, nearly of low rank |
//! | `identity` | [`Implicit`] with [`Identity`] | approximate | one linearisation | `f_yy` nearly I |
//! | `fixed-point` | [`FixedPoint`] | a solved lower level | one linearisation | a step that contracts |
//! | `iga` | [`Iga`] | approximate | one replay of a gradient | f like a square |
//! | `kkt` | [`Kkt`] | a solved lower level with constraints | a few vectors | constraints with independent gradients |
//! | `barrier` | [`Barrier`] | a solved lower level with a barrier | a few vectors, one linearisation | `f_yy` positive definite |
//! | `imaml` | [`Imaml`] | a solved lower level, with `mu/2 norm(y - x)^2` | one replay | x of the shapes of y |
//! | any of these on a meta-batch | [`Tasks`] | the method's | the method's, for each thread | data that draws tasks |
//! | a step of any [`JointMethod`] | [`JointStep`] | the method's | the method's | the method's |
//!
//! | name | type | step |
//! |---|---|---|
//! | `gd` | [`Gd`] | `y' = y - s f_y` |
//! | `momentum` | [`Momentum`] | `v' = m v - s f_y`, `y' = y + v'` |
//! | `nesterov` | [`Nesterov`] | `y' = u - s f_y(u)`, u extrapolated from the last two y |
//! | `adam` | [`Adam`] | `y' = y - s m' / sqrt(v' + eps)`, by moments m and v of `f_y` |
//! | `rms-prop` | [`RmsProp`] | `y' = y - s g / sqrt(v' + eps)`, by the moment v of `g = f_y` |
//! | `projected` | [`Projected`] | `y' = P(D(y))`, after any dynamics D |
//! | `aggregated`, `pessimistic` | [`Aggregated`] | `y' = y - (a s_u F_y + (1 - a) s_l f_y)`, with `- a s_u F_y` |
//! | `clipped` | [`Clipped`] | any dynamics with a gradient clipped by value or by norm |
//! | `weight-decay` | [`WeightDecay`] | any dynamics with `f_y + w y`, or with `w y` taken from y' |
//! | `custom` | [`Custom`] | your own function, differentiated for you |
//! | `preconditioned` | [`Preconditioned`] | any dynamics with `P(x) f_y`: [`Diagonal`], [`Kronecker`] |
//!
//! Their step sizes and momenta are numbers, [`Schedule`]s, or [`Coefficient`]s that are learned with x: one for all
//! steps or one per step, and one for all of y or one for each part of it.
//!
//! # Errors and status
//!
//! Settings are checked where they are given, modules and losses where the oracle is built, and
//! numbers at each upper step: an [`Error`] names what was found, what was expected and the cure. A
//! hypergradient comes with a [`Status`]; a run ends with an [`Outcome`] that says why.
//!
//! # Saving and resuming
//!
//! [`Executor::with_checkpoints`] saves a run to a [`CheckpointFile`]. A program that is interrupted at any moment and
//! started again makes the same steps as an uninterrupted run, bit for bit. Its parts: [`Solver::save`] gives all that
//! later steps depend on as a [`Snapshot`], which any format of serde writes exactly; [`Solver::restore`] hands it to a
//! solver with the same settings; and [`Executor::starting_at`] continues the count. A snapshot of another method or
//! problem is an [`Error`].
//!
//! # Your own method
//!
//! Implement [`HypergradientMethod`], and compare it by [`check_hypergradient`] with differences or a known gradient:
//! its report names what is wrong, by how much, and where to look.

pub mod catalogue;
mod check;
mod checkpoint;
pub mod constrained;
mod data;
mod descend;
mod error;
mod function;
pub mod hypergradient;
pub mod joint;
pub mod linear;
pub mod lower;
mod map;
pub mod minimise;
mod moments;
mod oracle;
pub mod parallel;
pub mod problem;
pub mod proximal;
pub mod proxy;
mod run;
mod schedule;
mod side_by_side;
mod snapshot;
mod solve;
mod solver;
pub mod stochastic;
pub mod suggest;
pub mod upper;
mod vector_ops;

pub use bilevel_program::{Batch, Frozen, Layout, Tensors, TraceError, Vector, stop_gradient};
pub use check::{Bound, Finding, HypergradientReport, Reference, check_hypergradient};
pub use checkpoint::{CheckpointError, CheckpointFile};
pub use constrained::AugmentedLagrangian;
pub use data::*;
pub use descend::{Solution, descend};
pub use error::Error;
pub use hypergradient::{
    Barrier, Fad, FirstOrder, FixedPoint, Fomaml, Hypergradient, HypergradientMethod, Iaptt, Iga,
    Imaml, Implicit, Infinite, JointStep, Kkt, Maml, OnFeatures, OneStage, OneStageFd, OnlineFad,
    Reptile, ReversibleRad, Status, Tasks, Unrolled,
};
pub use joint::{
    Alternating, Bome, Bvfim, BvfimSettings, F2sa, GPbgd, Gap, HeavyBall, Iterate, JointMethod,
    Meha, NsGame, Penalty, PenaltySettings, Relaxation, Seen, StepDirection, VPbgd, VirtualStep,
};
pub use linear::{
    ApproxGrad, BiCgStab, Cg, Dense, Gmres, Identity, LinearSolver, LinearStatus, Minres, Neumann,
    NormalCg, Nystrom,
};
pub use lower::{
    Adam, Aggregated, Clipped, Coefficient, Custom, Descent, Diagonal, Dynamics, Entries, Gd,
    Kronecker, LowerSolve, Momentum, Nesterov, Nothing, Plan, Preconditioned, Preconditioner,
    Projected, ReversibleMomentum, RmsProp, Weight, WeightDecay,
};
pub use minimise::{Armijo, Bfgs, Fista, Lbfgs, Newton};
pub use moments::Moments;
pub use oracle::*;
pub use parallel::{Alone, DataParallel, Group, GroupError, InProcess};
pub use problem::{BilevelProblem, Conditions, FeatureProblem, Objective, SplitProblem, Variable};
pub use proximal::{
    Ball, Bounds, ElasticNet, GroupLasso, Projection, Proximal, Scaled, Simplex, SoftThreshold,
};
pub use proxy::{
    DeltaStn, Hypernetwork, LinearHypernetwork, MlpHypernetwork, NetworkProxy, Proxy, RankOne,
    RankOneAffine, Region, Response, ResponseNetwork, Scale, Stn,
};
pub use run::*;
pub use schedule::{Rates, Schedule};
pub use side_by_side::side_by_side;
pub use snapshot::{Entry, Snapshot};
pub use solve::{Account, Answer, Conclusion, solve, solve_pessimistic};
pub use solver::*;
pub use stochastic::{
    Amigo, Bsa, Fsla, Mrbo, NeumannSeries, OnBatches, Saba, Soba, Srba, StocBio, Sustain, Ttsa,
    Vrbo,
};
pub use suggest::{Request, Suggestion, suggest, suggest_on};
pub use upper::{AdaptiveStep, BurnOptimizer, GradientStep, OptimizerMemory, UpperStep};
