//! Counting the messages of a group.

use std::ops::Sub;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Group, GroupError};

/// The traffic of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Sums and broadcasts.
    pub messages: u64,
    /// Numbers summed.
    pub numbers: u64,
    /// Time in the group, including the wait for other ranks.
    pub time: Duration,
}

impl Sub for Traffic {
    type Output = Self;

    /// The traffic since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            messages: self.messages - earlier.messages,
            numbers: self.numbers - earlier.numbers,
            time: self.time - earlier.time,
        }
    }
}

/// A group that counts its messages.
#[derive(Debug)]
pub struct Metered<G> {
    group: G,
    traffic: Mutex<Traffic>,
}

impl<G: Group> Metered<G> {
    /// Counts the messages of `group` from now on.
    pub fn new(group: G) -> Self {
        Self { group, traffic: Mutex::default() }
    }

    /// The group itself, whose own messages are not counted.
    pub fn inner(&self) -> &G {
        &self.group
    }

    /// The traffic so far.
    pub fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count<T>(&self, numbers: usize, message: impl FnOnce(&G) -> T) -> T {
        let begin = Instant::now();
        let result = message(&self.group);
        let mut traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        traffic.messages += 1;
        traffic.numbers += numbers as u64;
        traffic.time += begin.elapsed();
        result
    }
}

impl<G: Group> Group for Metered<G> {
    fn rank(&self) -> usize {
        self.group.rank()
    }

    fn size(&self) -> usize {
        self.group.size()
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<(), GroupError> {
        self.count(values.len(), |group| group.sum_f32(values))
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), GroupError> {
        self.count(values.len(), |group| group.sum_f64(values))
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, GroupError> {
        self.count(0, |group| group.broadcast(bytes))
    }

    fn check(&self) -> Result<(), GroupError> {
        self.group.check()
    }
}
