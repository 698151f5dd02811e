//! Forward mode for [Burn](https://burn.dev): exact directional derivatives of every differentiable operation
//! of Burn, on any Burn backend.
//!
//! ```
//! use bilevel_autodiff::{Dual, DualTensor};
//! use burn::backend::ops::FloatTensorOps;
//! use burn::backend::{TensorData, read_sync};
//! use burn_flex::{Flex, FlexDevice};
//!
//! let tensor = |values| Flex::float_from_data(TensorData::from(values), &FlexDevice);
//! let x = DualTensor::<Flex>::new(tensor([0.5, 2.0, 3.0]), tensor([1.0, 0.0, -1.0]));
//!
//! // sum x^2, and 2 <x, dx>.
//! let y = Dual::<Flex>::float_sum(Dual::<Flex>::float_mul(x.clone(), x));
//! let (value, tangent) = y.into_parts();
//! let number = |x| read_sync(Flex::float_into_data(x)).unwrap().try_to_vec::<f64>().unwrap();
//! assert_eq!(number(value), [13.25]);
//! assert_eq!(number(tangent.expect("x moves")), [-5.0]);
//! ```
//!
//! # Dual tensors
//!
//! [`Dual<B>`] is a backend decorator like Burn's `Autodiff<B>`: each float tensor, a [`DualTensor`], carries
//! an optional tangent, its derivative along one direction. The value is computed exactly as by `B`. A
//! missing tangent is an exact zero that costs nothing. A tangent has the shape and dtype of its value.
//! `docs/COVERAGE.md` lists every operation of Burn by how its tangent is computed.
//!
//! Rules read no tensor values: if `B` records or defers its operations, so does `Dual<B>`.
//!
//! # Levels
//!
//! The decorators compose.
//!
//! * **Reverse over forward**, `Dual<Autodiff<B>>`: a loss runs once with tangents and `backward` is applied
//!   to the tangent of the loss. This takes the least time and memory for second-order products.
//! * **Forward over reverse**, `Autodiff<Dual<B>>`: `backward` itself runs on dual tensors. Use it if the
//!   gradient at the same point is needed too.
//! * **Higher orders**, `Dual<Dual<B>>` and `Dual<Dual<Autodiff<B>>>`: every level adds a derivative along a
//!   direction of its own, such as `<u, H v>` and its gradient.
//!
//! # Pitfalls
//!
//! * **Random losses**: dropout draws a new mask at each evaluation, and the product of such a loss is not
//!   that of any one function. Make the loss deterministic.
//! * **`detach`** stops both derivatives under reverse over forward. Under forward over reverse it stops only
//!   the gradient: Burn's `Autodiff` does not pass it on to its inner backend.
//! * **Batch statistics**: the mean and the variance of `batch_norm_train` have tangents. `Autodiff` computes
//!   gradients only for the normalised output, not for the statistics.
//! * **Kinks**: at a kink of ReLU or a tie of max-pooling, a product is that of the piece that the backend
//!   selects.
//! * **Products at zeros**: Burn's backward pass of `prod` and `cumprod` treats exact zeros as special cases,
//!   so forward over reverse misses second derivatives there. Reverse over forward has them.
//! * **Missing rules**: an operation without a tangent rule panics with its name if it receives a tangent; a
//!   tangent is never dropped silently.
//! * **Division by a scalar**: `Autodiff` rounds the reciprocal of the divisor to f32. Multiply instead.

mod dual;

pub use dual::*;
