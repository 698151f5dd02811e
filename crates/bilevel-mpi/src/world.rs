//! All processes of an MPI job as a group.

use std::fmt::{Debug, Formatter};
use std::ops::Add;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bilevel_core::parallel::{Group, GroupError, tree};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Buffer, BufferMut, Communicator, CommunicatorCollectives, Equivalence, Root};

/// All processes that MPI started together.
///
/// A sum is not `MPI_Allreduce`, whose order, and so whose bits, depend on the library, the number of ranks and the
/// length. Each rank receives a part of every rank's numbers, sums it in the order of the ranks, and all gather the
/// parts: each rank sends `2 (P - 1) / P` times the numbers, as in a ring. Short sums are gathered whole, in one round.
///
/// Calls may come from any thread, one at a time. A panic of any thread ends all ranks with code 101; otherwise they
/// would wait for this one forever. If MPI loses a rank, and on any error of MPI, `mpirun` ends all ranks as well.
pub struct Mpi {
    /// None once MPI is finalised.
    universe: Mutex<Option<Universe>>,
    single: Mutex<Buffers<f32>>,
    double: Mutex<Buffers<f64>>,
}

/// Why MPI cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It was already started.
    #[error("MPI was started before in this process, expected once: share one `Mpi`, by reference")]
    Twice,
    /// It accepts calls from one thread only.
    #[error(
        "MPI supports the threading level {found}, expected `Serialized` at least: use a build of MPI with threads"
    )]
    Threads {
        /// What it supports.
        found: String,
    },
}

/// A sum of up to this many numbers is one round of messages.
const SHORT: usize = 1024;

/// At most this many numbers are sent at once: counts of MPI are below 2^31, and buffers are no larger.
const BLOCK: usize = 1 << 20;

/// How long a rank that has failed waits for the others to fail with the same error.
const PATIENCE: Duration = Duration::from_secs(1);

/// Rust's exit code when a thread panics.
const PANICKED: i32 = 101;

fn world() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mpi {
    /// Starts MPI in this process. Without `mpirun` there is only this process.
    ///
    /// # Errors
    /// If it was already started, or accepts calls from one thread only.
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
        Ok(Self {
            universe: Mutex::new(Some(universe)),
            single: Mutex::default(),
            double: Mutex::default(),
        })
    }

    /// Ends MPI, and returns `code`, with which the process should end. If it is not 0 and another rank is still
    /// running after a second, all ranks are ended with it.
    ///
    /// `mpirun` ends with the code of a rank that failed.
    pub fn end(&self, code: u8) -> u8 {
        let universe = lock(&self.universe).take();
        if let Some(universe) = universe {
            wait_for_all(code);
            drop(universe);
        }
        code
    }
}

/// Buffers for sending and receiving one block, reused between sums: fresh memory costs more than the numbers.
#[derive(Debug, Default)]
struct Buffers<T> {
    own: Vec<T>,
    of_all: Vec<T>,
}

impl<T> Buffers<T>
where
    T: Equivalence + Copy + Default + Add<Output = T>,
    [T]: Buffer + BufferMut,
{
    /// The sums over ranks.
    fn sum(&mut self, values: &mut [T]) {
        let (world, n) = (world(), values.len());
        let size = world.size() as usize;
        if n <= SHORT {
            self.of_all.resize(size * n, T::default());
            world.all_gather_into(values, &mut self.of_all[..]);
            values.copy_from_slice(sum_of(&mut self.of_all, n));
            return;
        }
        for values in values.chunks_mut(BLOCK) {
            let share = values.len().div_ceil(size);
            self.own.resize(size * share, T::default());
            self.of_all.resize(size * share, T::default());
            self.own[..values.len()].copy_from_slice(values);
            world.all_to_all_into(&self.own[..], &mut self.of_all[..]);
            world.all_gather_into(sum_of(&mut self.of_all, share), &mut self.own[..]);
            values.copy_from_slice(&self.own[..values.len()]);
        }
    }
}

/// The sum of parts of n numbers each, in the order of the ranks; in place.
fn sum_of<T: Copy + Add<Output = T>>(parts: &mut [T], n: usize) -> &[T] {
    fn add<'a, T: Copy + Add<Output = T>>(a: &'a mut [T], b: &'a mut [T]) -> &'a mut [T] {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = *a + *b);
        a
    }
    tree(parts.chunks_exact_mut(n.max(1)), add).map_or(&[], |sum| sum)
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
        lock(&self.single).sum(values);
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), GroupError> {
        lock(&self.double).sum(values);
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
