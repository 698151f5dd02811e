//! Importance learning with label noise: one weight per training sample, learned on a small clean validation set, with
//! a network trained on batches.
//!
//! ```text
//! f(x, y) = sum_i sigmoid(x_i) l_i(y) / sum_i sigmoid(x_i)    over a batch of training samples, some labels wrong
//! F(x, y) = 1/m sum_j l_j(y)                                  over a batch of validation samples
//! ```
//!
//! with l the cross-entropy of a network y. Unlike in [hyper-cleaning](super::hyper_cleaning), the loss is not convex
//! in y and no step uses the whole data: x and y move together, and the y at the end is the result.
//!
//! | method | what |
//! |---|---|
//! | `clean-labels` | baseline: trained on the correct labels of the training set and on the validation set |
//! | `val-only` | baseline: trained on the validation set |
//! | `train-val` | baseline: trained on all labels, wrong ones included |
//! | `penalty` | [`Penalty`](bilevel_core::Penalty), T steps of y on fresh batches between two steps of x |
//! | `approx-grad` | T steps of y on fresh batches, one on the batch of the linear system, which Adam solves from the last solution |
//! | `rad` | T steps of y on fresh batches, five on one batch, and back through these |
//!
//! A residual network is evaluated with the statistics of training images. `s/iteration` is the mean time of an upper
//! step, without evaluations; the first one includes recording the losses. The preset `paper-wrn` has the constants of the
//! comparison with methods that reweight samples.
//!
//! Source: A. Mehra and J. Hamm, ["Penalty method for inversion-free deep bilevel
//! optimization"](https://arxiv.org/abs/1911.03432), 2021, section 3.2 and Table 2. Network, batch and step sizes are
//! in a supplement that we have not seen: they are our choice, and y is moved by gradient descent instead of Adam.

mod method;
mod problem;
mod run;
mod settings;

pub use method::Method;
pub use problem::{Importance, TrainingBatch};
pub use run::Prepared;
pub use settings::Settings;
