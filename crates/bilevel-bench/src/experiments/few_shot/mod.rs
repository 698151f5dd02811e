//! Few-shot classification: tasks of N classes with M training images each, and one x for all tasks.
//!
//! ```text
//! min_x 1/n sum_j F_j(x, y_j(x)),   y_j(x) by lower steps down f_j(x, y)
//! ```
//!
//! over meta-batches of n tasks that are drawn anew at each upper step; f_j is the cross-entropy of the training
//! images, F_j that of other images of the same classes. Two families:
//!
//! | x | y | methods |
//! |---|---|---|
//! | a network up to its features | a linear head, from zero or a learned start | `rad`, `trad`, `bda`, `iaptt`, `penalty`, `approx-grad`, `cg`, `anil`; `protonet` has no y |
//! | the start of a network, and what else is learned of its steps | the network | `maml`, `fomaml`, `reptile`, `imaml`, `meta-sgd`, `t-net`, `meta-curvature`, `warpgrad` |
//!
//! In the first family the features of a task are computed once per upper step ([`TaskFeatures`]). Batch normalisation
//! uses the statistics of the images of one level of one task, in training and test.
//!
//! Sources: R. Liu et al., "A generic first-order algorithmic framework for bi-level programming beyond lower-level
//! singleton", 2020, section 5.3; A. Mehra and J. Hamm, "Penalty method for inversion-free deep bilevel optimization",
//! 2021, section 3.3; R. Liu et al., "Towards gradient-based bilevel optimization with non-convex followers and
//! beyond", 2021, section 4.2.1; the survey, sections 3.1 and 4. Step sizes and numbers of steps are our choice where
//! these give none.

mod configured;
mod data;
mod features;
mod learner;
mod method;
mod problem;
mod run;
mod settings;

pub use configured::Configured;
pub use data::Tasks;
pub use features::TaskFeatures;
pub use method::Method;
pub use problem::{Adaptation, Extractor, Features, Heads, Judge, Meta, Representation};
pub use run::Prepared;
pub use settings::{NetworkName, Settings};
