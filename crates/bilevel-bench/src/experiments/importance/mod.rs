//! Importance learning against wrong labels: one weight a training sample, learned on a small clean validation
//! set, under a convolutional network that sees batches.
//!
//! ```text
//! f(x, y) = sum_i sigmoid(x_i) l_i(y) / sum_i sigmoid(x_i)    over a batch of training samples, some labels wrong
//! F(x, y) = 1/m sum_j l_j(y)                                  over a batch of validation samples
//! ```
//!
//! with l the cross-entropy of a network y. Unlike [hyper-cleaning](super::hyper_cleaning), the network is not
//! convex in y and no step sees the whole data: x and y move together, and the y at the end is the result.
//!
//! | method | what |
//! |---|---|
//! | `clean-labels` | baseline: trained on the right labels of the training set and on the validation set |
//! | `val-only` | baseline: trained on the validation set |
//! | `train-val` | baseline: trained on all labels, wrong ones included |
//! | `penalty` | [`Penalty`](bilevel_core::Penalty), T steps of y on fresh batches between two steps of x |
//! | `approx-grad` | T steps of y on fresh batches, one on the batch of the linear system, which is solved by Adam from the last solution |
//! | `rad` | T steps of y on fresh batches, five on one batch, and back through these |
//!
//! Source: A. Mehra and J. Hamm, ["Penalty method for inversion-free deep bilevel
//! optimization"](https://arxiv.org/abs/1911.03432), 2021, section 3.2 and Table 2. Network, batch and step sizes
//! stand in a supplement that we have not seen: they are choices of ours, and y is moved by gradient descent and
//! not by Adam.

mod method;
mod problem;
mod run;
mod settings;

pub use method::Method;
pub use problem::{Importance, TrainingBatch};
pub use run::Prepared;
pub use settings::{NetworkName, Settings};
