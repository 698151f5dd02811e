//! Derivatives of [Burn](https://burn.dev) losses as programs: recorded once, optimised, replayed on any backend.
//!
//! A loss is an ordinary function of a Burn module. It is recorded once, on a device that computes nothing, as the list
//! of operations that it consists of: a [`Program`]. Forward and reverse mode take a program and give a program, so that
//! they compose to derivatives of every order; each is optimised (common subexpressions, dead operations) and replayed
//! where the module and its data are, without a graph and without the loss.
//!
//! ```
//! use bilevel_program::{grad, hvp};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//!
//! fn loss(net: &Linear) -> Tensor<1> {
//!     let input = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, -1.0]], &net.weight.device());
//!     net.forward(input).powi_scalar(2).mean()
//! }
//!
//! let net = LinearConfig::new(2, 1).init(&Device::flex());
//! let gradient = grad(&net, loss)?;
//! let product = hvp(&net, &gradient, loss)?; // H g, without ever forming H
//! assert!(gradient.dot(&product) >= 0.0); // a convex loss
//! # Ok::<_, bilevel_program::TraceError>(())
//! ```
//!
//! # Operators
//!
//! Each takes a module and a function of it. The variables `y` are the module's trainable parameters ([`Layout::of`]);
//! derivatives are [`Vector`]s, one tensor per variable. A `Param` is a module, and so are lists and tuples of modules:
//! the operators work for plain tensors too.
//!
//! | operator | gives | by |
//! |---|---|---|
//! | [`grad`], [`value_and_grad`] | `f_y`, and `f` | reverse mode |
//! | [`jvp`], [`jvps`] | `f`, `J v`, for `f` of any shape | forward mode |
//! | [`vjp`] | `f`, `J' u`, for `f` of any shape | reverse mode of `<u, f>` |
//! | [`hvp`] | `f_yy v` | reverse mode of the forward mode |
//! | [`grad_and_hvp`] | `f_y` and `f_yy v` | both in one program |
//! | [`second_order`] | `f_yy v` and `d/dx <f_y, v>`, for `f(x, y)` | reverse mode of the forward mode |
//! | [`third_order`] | `d/dy <u, f_yy v>` | reverse mode of the forward mode, taken twice |
//! | [`jacobian`] | `J`, dense | one `J v` per number |
//! | [`hessian`] | `f_yy`, dense | one `f_yy v` per number |
//!
//! [`check`] tests in one line whether the derivatives of your loss are those of its values, and names the parameter at
//! fault.
//!
//! # In loops
//!
//! Every operator records the function that it is given. A [`Recorded`] does so once for each combination of shapes,
//! and gives values, gradients, products, and the Hessian at a point for many products ([`Recorded::linearize`]). It
//! takes a loss of two modules and of data, a [`Batch`]:
//!
//! ```
//! use bilevel_program::{Recorded, Vector, Wrt};
//! use burn::module::Param;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::flex();
//! let decay = Param::from_tensor(Tensor::<1>::zeros([1], &device));
//! let net = LinearConfig::new(3, 2).init(&device);
//! let loss = |decay: &Param<Tensor<1>>, net: &Linear, input: &Tensor<2>| {
//!     let penalty = decay.val().exp() * net.weight.val().powi_scalar(2).sum();
//!     net.forward(input.clone()).sin().mean() + penalty
//! };
//!
//! let recorded = Recorded::new(&decay, &net)?;
//! let x = Vector::from_module(recorded.upper_layout(), &decay);
//! let mut y = Vector::from_module(recorded.lower_layout(), &net);
//! for _ in 0..10 {
//!     let input = Tensor::<2>::random([4, 3], Distribution::Default, &device);
//!     let (_, gradient) = recorded.gradient(&x, &y, &input, Wrt::Y, &loss)?;
//!     y = y.axpy(-0.1, &gradient.into_y());
//! }
//! let net = y.write_into(net);
//! # Ok::<_, bilevel_program::TraceError>(())
//! ```
//!
//! It keeps what it recorded: whatever changes from call to call must come through the modules' variables or the batch.
//! A number or a tensor that the closure captures keeps the value that it had during recording, until a batch of other
//! shapes is recorded.
//!
//! # What can be recorded
//!
//! Everything that a loss does with the tensors of its arguments. Whatever cannot be recorded is a [`TraceError`] that
//! says so, never a derivative of something else: Burn's own gradient is recorded with the loss, and the two must
//! agree.
//!
//! | a loss | is refused because | remedy |
//! |---|---|---|
//! | reads data (`into_data`, `into_scalar`), or branches on it | there is none yet | masks (`mask_where`), `clamp`, `max_pair` |
//! | branches on anything else that changes | a second recording differs | a loss without state; it may branch on the variants of a [`Batch`] |
//! | draws random numbers, seeds, or has dropout | each evaluation is a different function | draw them beforehand, and pass them in the batch |
//! | detaches a value (`detach`, `no_grad`) | that leaves no trace | [`stop_gradient`] |
//! | uses a tensor of another device | that device does not record | create it on the device of an argument (`x.device()`), move it there (`to_device`), or pass it in the batch |
//! | has shapes that depend on values (`argwhere`, `nonzero`) | they are unknown | masks of a fixed shape |
//! | has quantised tensors | they have no derivative | `dequantize` beforehand |
//! | has parameters of several element types | sums of them have none | cast them to one |
//! | has a tensor larger than an array of the GPU, at any order of derivatives | kernels see only a part of it | fewer samples, smaller batches, or the CPU |
//!
//! A loss may loop and branch on shapes, on settings, or on a module's structure: the recording is the path that was
//! taken. Batch normalisation of burn-nn computes as in training, and the given module keeps its running statistics. At
//! a kink of ReLU or a tie of max-pooling a derivative is that of the piece that the backend chose.
//!
//! # Costs
//!
//! * The time of a recording depends on the number of operations, not on the size of the data: nothing is computed. In
//!   builds with debug assertions, and in [`check`], it is made twice and compared.
//! * A replay costs its operations, once each: no graph is built, the memory of a tensor is reused after its last use,
//!   and what does not depend on the requested variables is not computed. [`Program::count`] counts operations, bytes
//!   and arithmetic; [`Recorded::program`] gives the program, to count, print or draw it ([`Program::dot`]).
//! * A tensor that is created in a loss is a constant of its program, stored once and once per device: large data
//!   belongs in the batch.
//! * A [`Linearized`] keeps the tensors that its products share: [`Linearized::bytes`].
//! * [`jacobian`] and [`hessian`] make one replay per number in the module.
//!
//! Programs run on flex, with the feature `ndarray` on ndarray, and with the features `wgpu`, `cuda` and `rocm` on
//! those; in f64, f32 and half precision.

mod agree;
mod batch;
mod check;
mod count;
#[cfg(feature = "cube")]
mod cube;
mod derive;
mod device_error;
mod error;
mod execute;
pub mod float;
mod function;
mod fuse;
mod largest;
mod layout;
mod norm;
mod operators;
mod optimise;
mod partials;
mod power;
mod precise;
mod program;
mod reached;
mod record;
mod recorded;
mod replay;
mod simplify;
mod small;
mod softmax;
mod stop;
mod trace;
mod vector;

pub use batch::{Batch, Frozen, Tensors};
pub use bilevel_derive::Batch;
pub use check::*;
pub use device_error::device_failure;
pub use error::TraceError;
pub use layout::{Layout, Leaf};
pub use operators::*;
pub use partials::{Direction, Objective, Partials, Variable, Wrt};
pub use program::{Count, Program};
pub use recorded::{Derivative, Linearized, Loss, Recorded};
pub use stop::stop_gradient;
pub use vector::{Vector, plain};
