//! Finding the wrong labels of a user's table, with a few labels that are trusted.
//!
//! ```text
//! F(x, y) = mean loss of y over trusted rows
//! f(x, y) = mean over the other rows of sigmoid(x_i) times the loss of y
//! ```
//!
//! The weights are learned as in hyper-cleaning. Then a network is trained for each of several folds, on the trusted
//! rows and on the weighted rows of the other folds, and says how probable the given label of each row of the fold is:
//! no network judges a label that it was trained on. A row is the more suspect, the less probable its label.
//!
//! How well this works is estimated: some of the trusted rows are put among the others, a share of them with wrong
//! labels that are planted. What is found of these is known. In a benchmark, where the right labels of all rows are
//! known, nothing is planted, and trusted rows have their right labels.
//!
//! | file | what |
//! |---|---|
//! | `suspects-METHOD.csv` | the rows that are not trusted, the most suspect first: row from 1, given label, its probability, weight, the label that the network would give and its probability, the file of an image |
//! | `cleaned-METHOD.csv` | the data without the rows whose label another one beats, and without a trusted file; of images their files or rows, and labels |
//! | `precision-METHOD.svg` | of the known errors: precision over recall |
//! | `suspects-METHOD.svg` | the most suspect images, where rows are images |
//!
//! Sources: L. Franceschi et al., "Forward and reverse gradient-based hyperparameter optimization", 2017, for the
//! weights; C. G. Northcutt et al., "Confident learning: estimating uncertainty in dataset labels", 2021, for judging
//! rows by networks that were not trained on them. Weights and trusted rows in the folds are ours.

mod run;
mod settings;
mod suspects;

pub use run::Prepared;
pub use settings::{Method, Settings};
