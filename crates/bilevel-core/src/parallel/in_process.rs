//! Ranks as threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Group, GroupError, tree};

/// One of the ranks of a group of threads: each takes its own. A rank that is dropped has ended.
///
/// ```
/// use bilevel_core::parallel::{Group, InProcess};
///
/// let sums = std::thread::scope(|scope| {
///     let ranks = InProcess::ranks(3).into_iter().map(|group| {
///         scope.spawn(move || {
///             let mut values = [group.rank() as f64];
///             group.sum_f64(&mut values).map(|()| values[0])
///         })
///     });
///     ranks.collect::<Vec<_>>().into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
/// });
/// assert_eq!(sums, [Ok(3.0), Ok(3.0), Ok(3.0)]);
/// ```
#[derive(Debug)]
pub struct InProcess {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    round: Mutex<Round>,
    moved: Condvar,
}

/// A message in which all ranks take part.
#[derive(Debug)]
struct Round {
    number: u64,
    parts: Vec<Option<Part>>,
    /// Of the previous round.
    result: Option<Part>,
    broken: Option<GroupError>,
}

#[derive(Clone, Debug)]
enum Part {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bytes(Vec<u8>),
}

impl Part {
    fn describe(&self) -> String {
        match self {
            Self::F32(values) => format!("a sum of {} numbers in f32", values.len()),
            Self::F64(values) => format!("a sum of {} numbers in f64", values.len()),
            Self::Bytes(_) => "bytes of rank 0".to_owned(),
        }
    }

    /// Sums, and of bytes the first.
    fn with(self, other: Self) -> Self {
        fn sum<T: Copy + std::ops::Add<Output = T>>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
            a.into_iter().zip(b).map(|(a, b)| a + b).collect()
        }
        match (self, other) {
            (Self::F32(a), Self::F32(b)) => Self::F32(sum(a, b)),
            (Self::F64(a), Self::F64(b)) => Self::F64(sum(a, b)),
            (first, _) => first,
        }
    }
}

impl InProcess {
    /// The ranks of a group of `size`, in order.
    pub fn ranks(size: usize) -> Vec<Self> {
        let parts = vec![None; size];
        let round = Mutex::new(Round { number: 0, parts, result: None, broken: None });
        let shared = Arc::new(Shared { round, moved: Condvar::new() });
        (0..size).map(|rank| Self { rank, shared: shared.clone() }).collect()
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.shared.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self, part: Part) -> Result<Part, GroupError> {
        let mut round = self.round();
        if let Some(error) = &round.broken {
            return Err(error.clone());
        }
        let number = round.number;
        round.parts[self.rank] = Some(part);
        if round.parts.iter().all(Option::is_some) {
            round.close();
            self.shared.moved.notify_all();
        }
        let waiting = |round: &mut Round| round.number == number && round.broken.is_none();
        let wait = self.shared.moved.wait_while(round, waiting);
        let round = wait.unwrap_or_else(PoisonError::into_inner);
        match (&round.result, &round.broken) {
            // A rank that ended after this round took part in it.
            (Some(result), _) if round.number > number => Ok(result.clone()),
            (_, Some(error)) => Err(error.clone()),
            _ => unreachable!("a rank waits until a round is over or the group is broken"),
        }
    }
}

impl Round {
    fn close(&mut self) {
        let parts: Vec<_> = self.parts.iter_mut().filter_map(Option::take).collect();
        let asked: Vec<_> = parts.iter().map(Part::describe).collect();
        if let Some(rank) = asked.iter().position(|asked_for| *asked_for != asked[0]) {
            let (found, expected) = (asked[rank].clone(), asked[0].clone());
            self.broken = Some(GroupError::Calls { rank, found, expected });
            return;
        }
        self.result = tree(parts, Part::with);
        self.number += 1;
    }
}

impl Group for InProcess {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.round().parts.len()
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<(), GroupError> {
        if let Part::F32(sum) = self.exchange(Part::F32(values.to_vec()))? {
            values.copy_from_slice(&sum);
        }
        Ok(())
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), GroupError> {
        if let Part::F64(sum) = self.exchange(Part::F64(values.to_vec()))? {
            values.copy_from_slice(&sum);
        }
        Ok(())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, GroupError> {
        match self.exchange(Part::Bytes(bytes))? {
            Part::Bytes(bytes) => Ok(bytes),
            Part::F32(_) | Part::F64(_) => unreachable!("all ranks asked for bytes"),
        }
    }

    fn check(&self) -> Result<(), GroupError> {
        self.round().broken.clone().map_or(Ok(()), Err)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let rank = self.rank;
        self.round().broken.get_or_insert(GroupError::Left { rank });
        self.shared.moved.notify_all();
    }
}
