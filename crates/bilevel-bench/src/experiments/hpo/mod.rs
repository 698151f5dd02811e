//! Hyperparameter optimisation: bilevel methods against grid and random search, at equal cost.
//!
//! ```text
//! F(x, y) = validation loss of the model y
//! f(x, y) = training loss of y, penalised as x says; for `rates`, x is how y is trained
//! ```
//!
//! | problem | model y | hyperparameters x | data |
//! |---|---|---|---|
//! | `digits` | two layers | logarithm of the weight decay of each layer | the embedded digits |
//! | `rates` | two layers | logarithm of the step size, logit of the momentum | the embedded digits |
//! | `ridge` | linear regression | logarithm of the penalty of each of 20 features | generated: half of them are uninformative |
//! | `ijcnn1` | logistic regression | logarithm of the penalty of each of 22 features | `ijcnn1.gz` |
//! | `table` | softmax regression, or two layers | logarithm of the penalty of each feature, class or layer | a table, or the embedded digits |
//! | `20newsgroups` | softmax regression | logarithm of the penalty of each of 20 classes | `train.counts.libsvm.gz`, `test...` |
//!
//! Every method may make the same number of oracle calls, each a value, gradient or product on one batch. A search
//! trains a model from scratch for each candidate x, by T steps of (stochastic) gradient descent, and keeps the one
//! with the smallest validation loss:
//!
//! * `grid`: evenly spaced values for each entry of x, in all combinations; if there are so many entries that the calls
//!   do not suffice for three values each, one value for all entries.
//! * `random`: each entry drawn uniformly and independently from the same box.
//!
//! A bilevel method starts in the middle of the same box and is kept in it. When its calls are spent except for one
//! training, a model is trained with its last x, as in a search: the summary shows its validation loss beside that of
//! the best candidate. The curves show the validation loss of the model y that a method moves along with x, and the
//! best one so far of a search.
//!
//! Sources: J. Bergstra and Y. Bengio, "Random search for hyper-parameter optimization", 2012; the problems `ijcnn1`
//! and `20newsgroups` are those of benchmark_bilevel (M. Dagréou et al., "A framework for bilevel optimization that
//! enables stochastic and global variance reduction algorithms", 2022).

mod budgeted_steps;
mod data;
mod losses;
mod mean_over_batches;
mod method;
mod run;
mod search;
mod settings;
mod started_problem;

pub use method::Method;
pub use run::Prepared;
pub use settings::{ProblemName, Settings};
