//! Data sets of labelled images and of sparse rows, where they come from and how they are divided and spoiled.
//!
//! | module | what |
//! |---|---|
//! | [`digits`] | the embedded set, 1797 images of 8x8 |
//! | [`mnist`] | a folder in MNIST's format |
//! | [`idx`] | the file format of that folder |
//! | [`libsvm`] | text files of sparse rows, as [`Sparse`] |
//! | [`batches`] | sparse rows as batches of both levels |
//! | [`split`] | training, validation and test parts, balanced by class |
//! | [`noise`] | wrong labels, and how well a method finds them |
//!
//! All randomness comes from [`stream`], so that a seed fixes it on every machine.

pub mod batches;
mod classified;
mod dataset;
pub mod digits;
mod error;
mod gzip;
pub mod idx;
pub mod libsvm;
pub mod mnist;
pub mod noise;
mod sparse;
pub mod split;

pub use classified::{Classified, TrainValidation};
pub use dataset::Dataset;
pub use error::DataError;
pub use sparse::Sparse;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for. Each purpose has its own stream of a seed, so that drawing more
/// for one never shifts another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Dividing the samples, [`split`] and [`Classified::split`].
    Split = 1,
    /// Choosing and replacing labels, [`noise`].
    Noise = 2,
    /// The point at which derivatives are checked.
    Point = 3,
    /// Which rows make up which batch, [`batches`].
    Batches = 4,
    /// The problem whose hypergradient is timed, [`hypergrad`](crate::hypergrad).
    Problem = 5,
    /// Hyperparameters of a random search, [`hpo`](crate::experiments::hpo).
    Search = 9,
}

/// The random stream of one purpose under a seed; the same on every machine.
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}
