//! Forward mode for [Burn](https://burn.dev): exact Jacobian-vector and Hessian-vector products of any
//! Burn module, on any Burn backend.
//!
//! ```
//! use bilevel_autodiff::{grad, hvp};
//! use burn_autodiff::Autodiff;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Tensor, backend::Backend};
//! use burn_flex::Flex;
//!
//! // Generic in its backend, so that it can be evaluated on the level a derivative needs.
//! fn loss<B: Backend>(net: &Linear<B>) -> Tensor<B, 1> {
//!     let input = Tensor::<B, 2>::from_floats([[1.0, 2.0], [3.0, -1.0]], &Default::default());
//!     net.forward(input).powi_scalar(2).mean()
//! }
//!
//! let net = LinearConfig::new(2, 1).init::<Autodiff<Flex>>(&Default::default());
//! let gradient = grad(&net, loss);
//! let product = hvp(&net, &gradient, loss); // H g, without ever forming H
//! assert!(gradient.dot(&product) >= 0.0); // a convex loss
//! ```
//!
//! # Operators
//!
//! Each takes the module as one trains it, on `Autodiff<B>`, and the loss as a function. Derivatives
//! are [`Vector`]s: one value for each trainable parameter.
//!
//! | operator | gives | level of the loss | passes |
//! |---|---|---|---|
//! | [`grad`], [`value_and_grad`] | `f_y` | `Autodiff<B>` | one forward, one backward |
//! | [`jvp`], [`jvps`] | `f`, `J v`, for `f` of any shape | `Dual<B>` | one forward a direction |
//! | [`vjp`] | `f`, `J' u`, for `f` of any shape | `Autodiff<B>` | one forward, one backward |
//! | [`hvp`] | `f_yy v` | [`ReverseOverForward`] | one forward, one backward |
//! | [`second_order`] | `f_yy v` and `d/dx <f_y, v>` | [`ReverseOverForward`] | one forward, one backward |
//! | [`grad_and_hvp`] | `f_y` and `f_yy v` | [`ForwardOverReverse`] | one forward, one backward |
//! | [`jacobian`] | `J`, dense | `Dual<B>` | one [`jvp`] a variable |
//! | [`hessian`] | `f_yy`, dense | [`ReverseOverForward`] | one [`hvp`] a variable |
//!
//! [`check`] tests in one line whether the derivatives of a loss of yours are those of its values, and
//! names the parameter at fault.
//!
//! `docs/COVERAGE.md` lists every operation of Burn by what becomes of a tangent. The derivatives agree
//! with differences, with each other and with closed forms: `tests/` and the `products` test of
//! `bilevel-models` say to what precision.
//!
//! # Levels
//!
//! [`Dual<B>`] is a backend decorator, as Burn's `Autodiff<B>` is: each float tensor carries an optional
//! tangent, its derivative along one direction, and no tangent is an exact zero that costs nothing. The
//! two decorators compose.
//!
//! * **Reverse over forward**, `Dual<Autodiff<B>>`: the loss runs once with tangents and `backward` goes
//!   through the tangent of the loss. The default for second-order products: it takes the least time
//!   and memory, and gives products in two modules at once.
//! * **Forward over reverse**, `Autodiff<Dual<B>>`: `backward` itself runs on dual numbers. Take it where
//!   the gradient at the same point is wanted too.
//! * **Third order**, `Dual<Dual<B>>` and `Dual<Dual<Autodiff<B>>>`: every level adds a derivative along a
//!   direction of its own, as `<u, H v>` and its gradient.
//!
//! Code that wants more than the operators lifts modules itself: [`lift_reverse`], [`lift_forward`],
//! [`lift_reverse_over_forward`] and [`lift_forward_over_reverse`] set a module's variables on a level,
//! [`Gradients`] goes back, [`Lifted`] takes the derivatives down to vectors.
//!
//! # Traps
//!
//! * **Variables** are the parameters that require gradients where the module is on `Autodiff<B>`;
//!   frozen ones (`no_grad`) and running statistics are constants. Take [`Layout::of`] there: a plain
//!   backend forgets which is which.
//! * **Batch normalisation** of burn-nn uses the batch's statistics on every level of differentiation,
//!   `Dual<B>` included, and the running ones on a plain backend. The module handed in keeps its running
//!   statistics.
//! * **Random losses**: dropout draws another mask at each evaluation, and a product of such a loss
//!   belongs to no function. Make the loss deterministic.
//! * **`detach`** stops both derivatives under reverse over forward. Under forward over reverse it stops
//!   the gradient alone: Burn's `Autodiff` never tells its inner backend.
//! * **Kinks**: at a kink of ReLU or a tie of max-pooling, a product is that of the piece which the
//!   backend chose.
//! * **No rule, no number**: an operation without a tangent rule panics with its name if a tangent
//!   reaches it; a tangent is never dropped.
//! * **Precision**: on flex in f64, `Tensor::into_scalar` rounds to f32. Read with
//!   `into_data().iter::<f64>()`.

mod check;
mod dual;
mod lift;
mod operators;
pub mod reuse;
mod vector;

pub use check::*;
pub use dual::*;
pub use lift::*;
pub use operators::*;
pub use vector::{Layout, Leaf, Vector};
