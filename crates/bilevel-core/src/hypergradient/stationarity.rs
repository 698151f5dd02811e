//! How close to a solution of the lower level a descent ended.

use crate::{Error, Snapshot};

/// The largest distance from stationarity at the start of a descent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stationarity {
    largest: f64,
}

impl Stationarity {
    /// `end` relative to the largest start so far, including this descent's: a warm start is close already. Values
    /// below `rounding` cannot be told from 0.
    pub(super) fn relative(&mut self, start: f64, end: f64, rounding: f64) -> f64 {
        self.largest = self.largest.max(start);
        if end <= rounding { 0.0 } else { end / self.largest }
    }

    pub(super) fn save(self, to: &mut Snapshot) {
        to.put_numbers("stationarity", &[self.largest]);
    }

    pub(super) fn restore(from: &mut Snapshot) -> Result<Self, Error> {
        Ok(Self { largest: from.take_number("stationarity")? })
    }
}
