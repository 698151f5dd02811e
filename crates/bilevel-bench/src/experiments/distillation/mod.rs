//! Dataset distillation: a few images a class, made so that a network trained on them alone knows the whole training
//! set.
//!
//! ```text
//! f(x, y) = exp(s) 1/m sum_i l(y; image_i, q_i)         over the m images of x
//! F(x, y) = 1/n sum_j l_j(y)                            over a batch of real training samples
//! ```
//!
//! with l the cross-entropy. x = (images, s), and with `--labels learned` the logits of the labels q too; the images start
//! at the centres of k-means in each class. f is scaled by
//! exp(s), so that a step of gradient descent of size a on f is one of size a exp(s) on the mean cross-entropy: the step
//! size is learned. The test accuracy is that of the network after T such steps, from
//!
//! * the start that all training began with (`fixed`), and
//! * random weights that were never seen.
//!
//! With `--initialisation random` training draws random weights at each upper step too. Then y is what is added to
//! these weights, so that it starts at 0.
//!
//! Baselines, by the same T steps: as many random samples, and the centres of k-means in each class, each with the step
//! size that is best on training samples.
//!
//! Source: T. Wang et al., ["Dataset distillation"](https://arxiv.org/abs/1811.10959), 2018: MNIST, 10 images, LeNet,
//! fixed initialisation 96.6 %, random 79.5 %. One step size serves all steps here, and not one for each.

mod baselines;
mod problem;
mod run;
mod settings;

pub use problem::{Distillation, Distilled, Seen};
pub use run::Prepared;
pub use settings::{Initialisation, Labels, Reference, Settings};
