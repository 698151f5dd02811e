//! Poisoning: samples are added to a training set so that a classifier trained on it errs.
//!
//! `untargeted`: poisons of any image and wrong labels; the classifier, softmax regression on the pixels, is to
//! err everywhere.
//!
//! ```text
//! f(x, y) = mean cross-entropy of y over the training set and the poisons x, + d/2 norm(y)^2
//! F(x, y) = - mean cross-entropy of y over the validation set,    0 <= x <= 1
//! ```
//!
//! `clean-label`: one poison, a base image b under its own right label, altered by no more than e; one target t of
//! another class is to be taken for the base's. The classifier is softmax regression on the representation r of
//! a network that was trained on the other classes, and does not change: its last hidden layer, less the mean of the
//! training set and divided by the root of the mean square norm that is left.
//!
//! ```text
//! f(x, y) = mean cross-entropy of y over r of the training set and of b + x, + d/2 norm(y)^2
//! F(x, y) = cross-entropy of y at r(t) under the base's label + a norm(r(t) - r(b + x))^2 / norm(r(t) - r(b))^2
//! norm(x) <= e
//! ```
//!
//! Of both, the classifier is then trained anew, by another routine from another start, on the training set with
//! the poisons, pixels cut off at 0 and 1: that is what the report says.
//!
//! | method | untargeted | clean-label |
//! |---|---|---|
//! | `clean` | baseline: no poisons | |
//! | `flipped` | baseline: images as they are under wrong labels | |
//! | `collision` | | descent on the second term of F alone, projected |
//! | `rad`, `approx-grad` | projected | projected |
//! | `penalty` | projected | the bound is a penalty too |
//! | `penalty-projected` | | projected |
//!
//! Of clean-label the bounds are tried in their order until one is enough for a target, and the report says for each the
//! share of targets for which it, or a smaller one, was: `success.svg`. A figure shows the poisons beside base and
//! target. An attack that diverges has failed, and is counted as a warning.
//!
//! The penalty of clean-label is that of the source's "Improvements": with multipliers, and with l f added where the
//! classifier is moved, l falling from `--lambda`.
//!
//! One poison moves a classifier only where it can fit every sample: the paper's has 2048 features, and ours has more
//! features than training samples. Where the weight a is large, the second term decides, whatever the method.
//!
//! Source: A. Mehra and J. Hamm, ["Penalty method for inversion-free deep bilevel
//! optimization"](https://arxiv.org/abs/1911.03432), 2021, section 3.4 and Eq. 5; `collision` is Alg. 1 of
//! A. Shafahi et al., "Poison frogs!", 2018, with a projection, as there. Ours differs in: 1. two classes of digits
//! in place of dogs and fish, and a small network in place of InceptionV3; 2. the collision term is divided by its
//! first value, so that a does not depend on the network; 3. the decay d, so that the lower level has one solution, which
//! the classifier that is trained anew ends at too; 4. the bounds. The paper's appendix was not seen: a, T and the
//! step sizes are ours.

mod clean_label;
mod method;
mod problem;
mod run;
mod settings;
mod untargeted;

pub use method::Method;
pub use problem::{Goal, PoisonBatch, Poisoning, Poisons, Representation};
pub use run::Prepared;
pub use settings::{Attack, Settings};
