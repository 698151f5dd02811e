//! Bilevel optimisation on [Burn](https://burn.dev), in one dependency.
//!
//! | path | crate | what |
//! |---|---|---|
//! | `bilevel::*` | [`bilevel-core`](bilevel_core) | problems, lower dynamics, hypergradients, solvers, the outer loop |
//! | [`program`] | [`bilevel-program`](bilevel_program) | losses recorded as programs: gradients, products, Jacobians, `check` |
//! | [`models`] | [`bilevel-models`](bilevel_models) | networks |
//!
//! `#[derive(Batch)]` works with this crate alone. The features `ndarray`, `wgpu`, `cuda` and `rocm` add backends; flex
//! is always included. Start with [`BilevelProblem`], and [`descend`] by a method of your choice or [`solve`] without
//! one:
//!
//! ```
//! use bilevel::*;
//! use burn::module::Param;
//! use burn::tensor::Tensor;
//!
//! /// Rows and their targets.
//! #[derive(Clone, Debug, Batch)]
//! struct Rows {
//!     inputs: Tensor<2>,
//!     targets: Tensor<1>,
//! }
//!
//! /// Ridge regression, with the logarithm of its penalty as x.
//! struct Ridge;
//!
//! fn squares(w: &Param<Tensor<1>>, rows: &Rows) -> Tensor<1> {
//!     let fitted = rows.inputs.clone().matmul(w.val().unsqueeze_dim(1)).squeeze_dim(1);
//!     (fitted - rows.targets.clone()).powi_scalar(2).mean()
//! }
//!
//! impl BilevelProblem for Ridge {
//!     type Upper = Param<Tensor<1>>;
//!     type Lower = Param<Tensor<1>>;
//!     type Batch = Rows;
//!
//!     fn upper_loss(&self, _: &Self::Upper, w: &Self::Lower, validation: &Rows) -> Tensor<1> {
//!         squares(w, validation)
//!     }
//!
//!     fn lower_loss(&self, x: &Self::Upper, w: &Self::Lower, training: &Rows) -> Tensor<1> {
//!         squares(w, training) + (x.val().exp() * w.val().powi_scalar(2).sum())
//!     }
//! }
//!
//! # fn main() -> Result<(), Error> {
//! let device = Default::default();
//! let rows = |inputs, targets| Rows {
//!     inputs: Tensor::from_data(inputs, &device),
//!     targets: Tensor::from_data(targets, &device),
//! };
//! let data = FullBatch {
//!     upper: rows([[1.0, 0.0], [0.0, 1.0]], [0.8, 0.1]),
//!     lower: rows([[1.0, 0.5], [0.5, 1.0]], [1.2, 0.4]),
//! };
//! let (x, w) = (Param::from_data([-3.0], &device), Param::from_data([0.0, 0.0], &device));
//! let method = Unrolled::rad(Descent::new(Gd::new(0.2)?, 100)?);
//! let adam = BurnOptimizer::new(burn::optim::AdamConfig::new().build(), &x, 0.1)?;
//! let solution = descend(Ridge, &x, &w, data, method, adam, 20)?;
//! // A larger penalty fits the validation rows better.
//! assert!(solution.losses[19].0 < 0.5 * solution.losses[0].0, "{:?}", solution.losses);
//! # Ok(())
//! # }
//! ```

/// The code of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub use bilevel_core::*;
pub use bilevel_models as models;
pub use bilevel_program as program;
