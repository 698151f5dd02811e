//! Data sets of labelled images and of sparse rows: where they come from and how they are split and corrupted.
//!
//! | module | what |
//! |---|---|
//! | [`digits`] | the embedded set, 1797 images of 8x8 |
//! | [`mnist`] | a folder in MNIST's format |
//! | [`idx`] | the file format of that folder |
//! | [`files`] | where a folder has a file, and opening it |
//! | [`cifar`] | a folder with CIFAR-10 or CIFAR-100, the binary versions |
//! | [`libsvm`] | text files of sparse rows, as [`Sparse`] |
//! | [`batches`] | sparse rows as batches of both levels |
//! | [`gray`] | grey images of any size, folders of PNG files |
//! | [`loader`] | batches of images, shuffled in each pass, prepared by a thread |
//! | [`episodes`] | tasks of few-shot classification, drawn from [`ImageClasses`]: a set in memory, or folders of PNG and JPEG |
//! | [`omniglot`] | a folder with Omniglot |
//! | [`augment`] | random crops and reflections, normalised channels |
//! | [`table`] | a user's table: CSV, NumPy arrays, libsvm, safetensors, folders of images |
//! | [`split`] | training, validation and test parts, balanced by class |
//! | [`long_tail`] | classes of geometrically decreasing size |
//! | [`noise`] | wrong labels, and how well a method detects them |
//!
//! All randomness comes from [`stream`], so that a seed determines it on every machine.

pub mod augment;
#[cfg(feature = "tensors")]
pub mod batches;
pub mod cifar;
mod classified;
mod dataset;
mod digest;
pub mod digits;
#[cfg(feature = "tensors")]
pub mod episodes;
mod error;
pub mod files;
pub mod gray;
mod gzip;
pub mod idx;
mod image_classes;
pub mod libsvm;
#[cfg(feature = "tensors")]
pub mod loader;
pub mod long_tail;
pub mod mnist;
pub mod noise;
pub mod omniglot;
mod png;
mod sparse;
pub mod split;
pub mod table;

pub use classified::{Classified, TrainValidation};
pub use dataset::{Dataset, Images};
pub use digest::{Digest, digest};
pub use error::DataError;
pub use image_classes::{HELD, ImageClasses};
pub use sparse::Sparse;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The uses of random numbers. Each has its own stream of a seed, so that drawing more for one never affects another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Splitting the samples, [`split`] and [`Classified::split`].
    Split = 1,
    /// Choosing and replacing labels, [`noise`].
    Noise = 2,
    /// The point at which derivatives are checked.
    Point = 3,
    /// Which rows are in which batch, [`batches`].
    Batches = 4,
    /// The problem whose hypergradient is timed, `bilevel hypergrad`.
    Problem = 5,
    /// Which samples of a class a long tail keeps, [`long_tail`].
    LongTail = 6,
    /// Where images are cropped and whether they are reflected, [`augment`].
    Augment = 7,
    /// Errors planted in trusted labels, and folds, of the experiment `clean`.
    Planted = 8,
    /// Hyperparameters of a random search, of the experiment `hpo`.
    Search = 9,
    /// Which images are in which task, [`episodes`].
    Episodes = 20,
    /// Data that a program generates.
    Generated = 10,
    /// Endless data, one draw at a time.
    Draws = 11,
}

/// The random stream of one purpose and seed; the same on every machine.
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// A separate random stream for each `at`, such as a level, a pass and a sample: its draws do not depend on other
/// draws, nor on their order or thread.
pub fn stream_at(seed: u64, purpose: Purpose, at: [u64; 3]) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, number) in key.chunks_exact_mut(8).zip([seed, at[0], at[1], at[2]]) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(purpose as u64);
    rng
}
