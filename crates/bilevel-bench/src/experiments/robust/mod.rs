//! Robust training of image classifiers, `mwn` and `mlc`: part of the labels is wrong, or classes differ in size, and a
//! correction is learned on a small clean set while the network is trained.
//!
//! ```text
//! F(y)      = mean_j l_j(y)                                   over the clean set
//! mwn:  f(x, y) = sum_i w_i l_i(y) / sum_i w_i                w_i = w(l_i; x), a network 1-100-1
//! mlc:  f(x, y) = -mean_i log (T(x) p_i(y))[label_i]          T a transition matrix, p_i the class probabilities
//! ```
//!
//! l is the cross-entropy. w treats l as a number: no derivative in y passes through it, as in Eq. 3 of
//! Meta-Weight-Net. `T[i][j]` is the probability of label i if j is correct: its columns are softmaxes of x.
//!
//! | method | x sees its effect on y | [`bilevel_core`] |
//! |---|---|---|
//! | `plain` | the baseline: f is the mean of l, and x is fixed | |
//! | `mwn`, `mlc` | through one step of all of y | [`VirtualStep`](bilevel_core::VirtualStep) |
//! | `tbp` | through the last of two steps of all of y, truncated back-propagation | [`VirtualStep::truncated`](bilevel_core::VirtualStep::truncated) |
//! | `nsgame-mwn`, `nsgame-mlc` | through one step of the last layer | [`NsGame`](bilevel_core::NsGame) |
//!
//! y moves with momentum and weight decay, x with momentum.
//!
//! Before the methods run, steps of all of them take turns, and are timed. Quantities in the report:
//!
//! | quantity | meaning |
//! |---|---|
//! | `s/iteration` | the median time of a step |
//! | `extra MiB` | heap in use at once during a step, beyond that of a plain one; on the host only |
//! | `AUC` | the probability that a correct label has a larger weight than a wrong one |
//! | `T error` | the mean total variation distance between a column of T and the empirical one |
//!
//! The folder has `weights-<method>.svg`, the weight of each loss and the weights of correct and wrong labels, or
//! `transition-<method>.svg`, T beside the empirical matrix.
//!
//! Sources: NSGame, "Delving into the hierarchical structure for efficient large-scale bi-level learning", Sections
//! 5.2 and 5.3, Appendix B and C; J. Shu et al., "Meta-Weight-Net: learning an explicit mapping for sample
//! weighting", 2019; Z. Wang et al., "Training noise-robust deep neural networks via meta-learning", 2020; the
//! correction is the forward one of G. Patrini et al., "Making deep neural networks robust to label noise", 2017.
//! Differences: the weights sum to 1 over a batch, as in the code of Meta-Weight-Net and in Appendix B.5; the code of
//! Appendix C divides by the number of samples, and then weights that all grow mean a larger step of y, which is what
//! is learned first. MLC moves T itself, resets it to the identity at every iteration and normalises its columns to
//! sums of 1; here T is a softmax that is kept, close to the identity initially.

mod cost;
mod data;
mod judge;
mod method;
mod problem;
mod run;
mod settings;
mod warm_up;
mod without_upper;

pub use method::{MlcMethod, MwnMethod};
pub use problem::{Corrector, Robust, Training, Transition};
pub use run::{Mlc, Mwn};
pub use settings::{LookAhead, NoiseKind, Settings, Subject};
