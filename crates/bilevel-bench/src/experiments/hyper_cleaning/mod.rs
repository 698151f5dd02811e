//! Data hyper-cleaning: part of the training labels is wrong, a small validation set is clean, and one weight per
//! training sample is learned.
//!
//! ```text
//! f(x, y) = 1/n sum_i sigmoid(x_i) l_i(y)      over the training samples, their labels partly wrong
//! F(x, y) = 1/m sum_j l_j(y) + c norm(y)^2     over the validation samples
//! ```
//!
//! with l the cross-entropy of a classifier y. A sample is classified as wrong if its weight sigmoid(x_i) is below one
//! half; the mask of wrong labels is kept apart, for the report only.
//!
//! Baselines are points of the same problem: `noisy` trains with all weights 1, `clean-labels` with weight 1 on the
//! correct labels and 0 on the wrong ones.
//!
//! Source: L. Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", 2017; protocol of R.
//! Liu et al., "A generic first-order algorithmic framework for bi-level programming beyond lower-level singleton",
//! 2020, section 5.2. This differs from the latter in one way: losses are means instead of sums, so that step sizes do
//! not depend on the number of samples.
//!
//! After the upper steps, y is trained once more with the learned weights, as the method does it: by T steps of
//! gradient descent, for `bda` by T steps that descend both losses, for `ia-gm-a` by T of Nesterov's, for `iaptt` and
//! `ia-gm` from the learned start.
//!
//! With `--keep-above`, a classifier is trained on the validation samples and the training samples whose weight is greater
//! than a number, as in A. Mehra and J. Hamm, "Penalty method for inversion-free deep bilevel optimization", 2021, section
//! 3.2: by gradient descent from the common start, with the step size of the lower level. A signal waits for its end. Its
//! time and its calls are not counted, its memory is.

mod check;
mod problem;
mod run;
mod settings;

pub use problem::{HyperCleaning, Labelled, SampleWeights};
pub use run::Prepared;
pub use settings::{Method, NetworkName, Settings};
