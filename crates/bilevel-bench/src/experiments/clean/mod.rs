//! Finding the wrong labels of a user's table, given a few trusted labels.
//!
//! ```text
//! F(x, y) = mean loss of y over trusted rows
//! f(x, y) = mean over the other rows of sigmoid(x_i) times the loss of y
//! ```
//!
//! The weights are learned as in hyper-cleaning. Then a network is trained for each of several folds, on the trusted
//! rows and on the weighted rows of the other folds, and gives the probability of the given label of each row of the
//! fold: no network evaluates a label that it was trained on. The less probable its label, the more suspect a row is.
//!
//! The detection quality is estimated: some of the trusted rows are put among the others, a fraction of them with
//! planted wrong labels. For these it is known which labels are wrong. In a benchmark, where the correct labels of all
//! rows are known, nothing is planted, and trusted rows have their correct labels.
//!
//! | file | what |
//! |---|---|
//! | `suspects-METHOD.csv` | the rows that are not trusted, the most suspect first: row from 1, given label, its probability, weight, the label that the network would give and its probability, the file of an image |
//! | `cleaned-METHOD.csv` | the data without the rows for which another label is more probable, and without a trusted file; for images their files or rows, and labels |
//! | `precision-METHOD.svg` | for the known errors: precision over recall |
//! | `suspects-METHOD.svg` | the most suspect rows, with their given and suggested labels: images, or standardised features beside the means of the classes |
//!
//! Sources: L. Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", 2017, for the
//! weights; C. G. Northcutt et al., "Confident learning: estimating uncertainty in dataset labels", 2021, for
//! evaluating rows by networks that were not trained on them. The weights and trusted rows in the folds are our
//! addition.

mod run;
mod settings;
mod suspect_rows;
mod suspects;

pub use run::Prepared;
pub use settings::{Method, Settings};
