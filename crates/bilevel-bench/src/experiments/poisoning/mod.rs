//! Poisoning: samples are added to a training set so that a classifier trained on it makes errors.
//!
//! `untargeted`: poisons from any images, with wrong labels; the classifier, softmax regression on the pixels, should
//! err everywhere.
//!
//! ```text
//! f(x, y) = mean cross-entropy of y over the training set and the poisons x, + d/2 norm(y)^2
//! F(x, y) = - mean cross-entropy of y over the validation set,    0 <= x <= 1
//! ```
//!
//! `clean-label`: one poison, a base image b with its correct label, altered by at most e; one target t of another
//! class should be assigned to the base's class. The classifier is softmax regression on the representation r of a
//! network that was trained on the other classes, and does not change: its last hidden layer, minus the mean of the
//! training set and divided by the root mean square norm of the result.
//!
//! ```text
//! f(x, y) = mean cross-entropy of y over r of the training set and of b + x, + d/2 norm(y)^2
//! F(x, y) = cross-entropy of y at r(t) under the base's label + a norm(r(t) - r(b + x))^2 / norm(r(t) - r(b))^2
//! norm(x) <= e
//! ```
//!
//! In both cases, the classifier is then trained from scratch, by another routine from another start, on the training
//! set with the poisons, with pixels clipped to [0, 1]: this is what is reported.
//!
//! | method | untargeted | clean-label |
//! |---|---|---|
//! | `clean` | baseline: no poisons | |
//! | `flipped` | baseline: unchanged images with wrong labels | |
//! | `collision` | | descent on the second term of F only, projected |
//! | `rad`, `approx-grad` | projected | projected |
//! | `penalty` | projected | the bound is a penalty too |
//! | `penalty-projected` | | projected |
//!
//! For clean-label the bounds are tried in increasing order until one suffices for a target, and the report gives for
//! each the share of targets for which it, or a smaller one, sufficed: `success.svg`. A figure shows the poisons beside
//! base and target. An attack that diverges has failed, and is counted as a warning.
//!
//! The penalty of clean-label is that of the source's "Improvements": with multipliers, and with l f added in the steps
//! of the classifier, l decreasing from `--lambda`.
//!
//! One poison affects a classifier only if the classifier can fit every sample: the paper's has 2048 features, and ours
//! has more features than training samples. If the weight a is large, the second term dominates, whatever the method.
//!
//! Source: A. Mehra and J. Hamm, ["Penalty method for inversion-free deep bilevel
//! optimization"](https://arxiv.org/abs/1911.03432), 2021, section 3.4 and Eq. 5; `collision` is Alg. 1 of A. Shafahi
//! et al., "Poison frogs!", 2018, with a projection, as there. Differences: 1. two classes of digits instead of dogs
//! and fish, and a small network instead of InceptionV3; 2. the collision term is divided by its initial value, so that
//! a does not depend on the network; 3. the decay d, so that the lower level has one solution, which the newly trained
//! classifier reaches too; 4. the bounds. The paper's appendix was not seen: a, T and the step sizes are our choice.

mod clean_label;
mod means;
mod method;
mod problem;
mod run;
mod settings;
mod untargeted;

pub use method::Method;
pub use problem::{Goal, PoisonBatch, Poisoning, Poisons, Representation};
pub use run::Prepared;
pub use settings::{Attack, Settings};
