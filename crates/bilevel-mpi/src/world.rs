//! All processes of an MPI job as a group.

use std::fmt::{Debug, Formatter};
use std::ops::Add;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bilevel_core::parallel::{Group, GroupError, tree};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};

/// All processes that MPI has started together.
///
/// A sum is not `MPI_Allreduce`, whose order, and so whose bits, depend on the library, the number of ranks and the length.
/// Each rank receives a part of every rank's numbers, sums it in the order of the ranks, and all gather the parts:
/// `2 (P - 1) / P` times the numbers go out of a rank, as in a ring. Short sums are gathered whole, in one round.
///
/// Calls may come from any thread, one at a time. A panic of any thread ends all ranks with code 101, which else would wait
/// for this one for ever. A rank that MPI loses, and any error of MPI, ends all ranks as well: `mpirun` does that.
pub struct Mpi {
    /// None once MPI is finalised.
    universe: Mutex<Option<Universe>>,
}

/// MPI that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It was started before.
    #[error("MPI was started before in this process, expected once: share one `Mpi`, by reference")]
    Twice,
    /// It takes calls of one thread only.
    #[error(
        "MPI supports the threading level {found}, expected `Serialized` at least: use a build of MPI with threads"
    )]
    Threads {
        /// What it supports.
        found: String,
    },
}

/// Up to so many numbers a sum is one round of messages.
const SHORT: usize = 1024;

/// So many numbers go at once: counts of MPI are below 2^31, and buffers are of this size.
const BLOCK: usize = 1 << 20;

/// How long a rank that has failed waits for the others to fail by the same error.
const PATIENCE: Duration = Duration::from_secs(1);

/// What Rust ends with where a thread panics.
const PANICKED: i32 = 101;

fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

impl Mpi {
    /// Starts MPI in this process. Without `mpirun` the process is alone.
    ///
    /// # Errors
    /// If it was started before, or takes calls of one thread only.
    pub fn start() -> Result<Self, StartError> {
        let (universe, found) =
            mpi::initialize_with_threading(Threading::Serialized).ok_or(StartError::Twice)?;
        if found < Threading::Serialized {
            return Err(StartError::Threads { found: format!("{found:?}") });
        }
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            if world().size() > 1 {
                world().abort(PANICKED);
            }
        }));
        Ok(Self { universe: Mutex::new(Some(universe)) })
    }

    /// Ends MPI, and gives `code` back: what the process is to end with. Where it is not 0 and another rank goes on after
    /// a second, all ranks are ended with it.
    ///
    /// `mpirun` ends with the code of a rank that failed.
    pub fn end(&self, code: u8) -> u8 {
        let universe = self.universe.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(universe) = universe {
            wait_for_all(code);
            drop(universe);
        }
        code
    }

    /// The sums over ranks of at most [`BLOCK`] numbers.
    fn sum<T>(values: &mut [T])
    where
        T: Equivalence + Copy + Default + Add<Output = T>,
        [T]: mpi::traits::Buffer + mpi::traits::BufferMut,
    {
        let (world, n) = (world(), values.len());
        let size = world.size() as usize;
        let add = |a: Vec<T>, b: Vec<T>| a.into_iter().zip(b).map(|(a, b)| a + b).collect();
        let sum = |parts: &[T], n: usize| -> Vec<T> {
            tree(parts.chunks_exact(n).map(<[T]>::to_vec), add).unwrap_or_default()
        };
        if n <= SHORT {
            let mut all = vec![T::default(); size * n];
            world.all_gather_into(values, &mut all[..]);
            values.copy_from_slice(&sum(&all, n));
            return;
        }
        let share = n.div_ceil(size);
        let mut padded = values.to_vec();
        padded.resize(size * share, T::default());
        let mut of_all = vec![T::default(); size * share];
        world.all_to_all_into(&padded[..], &mut of_all[..]);
        world.all_gather_into(&sum(&of_all, share)[..], &mut padded[..]);
        values.copy_from_slice(&padded[..n]);
    }
}

/// Returns when all ranks are here, or ends them.
fn wait_for_all(code: u8) {
    let begin = Instant::now();
    let mut barrier = world().immediate_barrier();
    while let Err(unfinished) = barrier.test() {
        barrier = unfinished;
        if code != 0 && begin.elapsed() > PATIENCE {
            world().abort(code.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Group for Mpi {
    fn rank(&self) -> usize {
        world().rank() as usize
    }

    fn size(&self) -> usize {
        world().size() as usize
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<(), GroupError> {
        values.chunks_mut(BLOCK).for_each(Self::sum);
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), GroupError> {
        values.chunks_mut(BLOCK).for_each(Self::sum);
        Ok(())
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>, GroupError> {
        let world = world();
        let first = world.process_at_rank(0);
        let mut length = bytes.len() as u64;
        first.broadcast_into(&mut length);
        bytes.resize(length as usize, 0);
        bytes.chunks_mut(BLOCK).for_each(|block| first.broadcast_into(block));
        Ok(bytes)
    }

    /// An error of MPI ends all ranks.
    fn check(&self) -> Result<(), GroupError> {
        Ok(())
    }
}

impl Debug for Mpi {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mpi").finish_non_exhaustive()
    }
}
