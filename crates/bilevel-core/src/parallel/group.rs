//! Processes that compute one sum together.

use std::fmt::Debug;
use std::ops::Range;

use auto_impl::auto_impl;

/// The ranks of a run. All of them make the same calls in the same order, from one thread at a time; each call is a
/// message for which all wait.
///
/// A sum has the same bits on every rank: it is computed by a [`tree`](super::tree) in the order of the ranks.
///
/// A group that has failed stays so: every later call fails with the first error.
#[auto_impl(&, Box, Arc)]
pub trait Group: Debug + Send + Sync {
    /// Which of the ranks this is, counted from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Replaces `values` by their sums over all ranks, entry by entry.
    ///
    /// # Errors
    /// If a rank has ended, or requests a sum of a different number of numbers.
    fn sum_f32(&self, values: &mut [f32]) -> Result<(), GroupError>;

    /// [`Group::sum_f32`] in double precision.
    ///
    /// # Errors
    /// As there.
    fn sum_f64(&self, values: &mut [f64]) -> Result<(), GroupError>;

    /// The bytes of rank 0. Those of the other ranks are ignored.
    ///
    /// # Errors
    /// If a rank has ended, or requests a sum.
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, GroupError>;

    /// Whether all of its calls have succeeded. No message.
    ///
    /// # Errors
    /// The first error of a call.
    fn check(&self) -> Result<(), GroupError>;

    /// Which of `n` ordered items belong to this rank, if they are divided evenly.
    fn share(&self, n: usize) -> Range<usize> {
        self.share_of(self.rank(), n)
    }

    /// Which of `n` ordered items belong to a rank, if they are divided evenly.
    fn share_of(&self, rank: usize, n: usize) -> Range<usize> {
        rank * n / self.size()..(rank + 1) * n / self.size()
    }
}

/// A single process: a group of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum_f32(&self, _: &mut [f32]) -> Result<(), GroupError> {
        Ok(())
    }

    fn sum_f64(&self, _: &mut [f64]) -> Result<(), GroupError> {
        Ok(())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, GroupError> {
        Ok(bytes)
    }

    fn check(&self) -> Result<(), GroupError> {
        Ok(())
    }
}

/// Why ranks cannot continue together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A rank that has ended.
    #[error(
        "rank {rank} has ended, expected all ranks to stay to the end of the run: its own message says why; \
         then resume the run"
    )]
    Left {
        /// The rank.
        rank: usize,
    },

    /// Ranks that request different things.
    #[error(
        "rank {rank} asks for {found} where rank 0 asks for {expected}, expected the same calls in the same order: \
         give all ranks the same settings, and shards of one size"
    )]
    Calls {
        /// The rank.
        rank: usize,
        /// What it requests.
        found: String,
        /// What rank 0 requests.
        expected: String,
    },

    /// Ranks whose results differ.
    #[error(
        "{what} of rank {rank} are not those of rank 0, expected the same bits on all ranks: start all with the same \
         program, settings and number of threads, on processors of one kind"
    )]
    Apart {
        /// What differs.
        what: String,
        /// The first rank where it does.
        rank: usize,
    },
}
