//! Task-driven dictionary learning: atoms whose sparse codes separate classes.
//!
//! ```text
//! y(x) = argmin_y f(x, y) + l1 sum_i norm(y_i)_1
//! f(x, y) = 1/2 sum_i norm(u_i - D' y_i)^2 + l2/2 sum_i norm(y_i)^2 + m/2 sum_ij w_ij norm(y_i - y_j)^2 / 2
//! F(x, y) = 1/n sum_i cross-entropy(W y_i + b) + v/2 (norm(W)^2 + norm(b)^2)
//! ```
//!
//! x = (D, W, b): the atoms, rows of D, which are normalised in the loss, and a classifier of codes. y are the codes of
//! a batch of images u of norm 1, by proximal gradient descent: `f` plus the 1-norm is an elastic net. With
//! `--laplacian m` the codes of neighbouring images in the batch (w = 1) are drawn towards each other.
//!
//! | method | what |
//! |---|---|
//! | `softmax` | baseline: softmax regression on the pixels |
//! | `unsupervised` | baseline: atoms that reconstruct the images, and then softmax regression on their codes |
//! | `fixed-point` | [`FixedPoint`](bilevel_core::FixedPoint) through proximal steps, from the unsupervised atoms |
//! | `rad` | [`Unrolled`](bilevel_core::Unrolled) through proximal steps, likewise |
//!
//! The atoms of `unsupervised` are learned by the same steps, with the reconstruction error as F: y minimises it up to
//! penalties, so that its direct derivative in D is used, by `first-order`.
//!
//! Sources: J. Mairal, F. Bach and J. Ponce, "Task-driven dictionary learning", 2012; P. Zhou, C. Zhang and Z. Lin,
//! "Bilevel model-based discriminative dictionary learning for recognition", 2016 (the Laplacian; survey, ref. 168).

mod method;
mod problem;
mod run;
mod settings;

pub use method::Method;
pub use problem::{Codes, Dictionary, Goal, Learned, Signals};
pub use run::Prepared;
pub use settings::Settings;
