//! When iterations end.

use std::fmt::{Display, Formatter};

use bilevel_program::Vector;

use super::{LinearStatus, Solution, System};
use crate::Error;
use crate::error::{at_least_one, positive};

/// A limit of iterations and a relative residual; the first one reached ends the iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    iterations: usize,
    tolerance: f64,
}

impl Limits {
    pub(crate) fn new(iterations: usize, tolerance: f64) -> Result<Self, Error> {
        Ok(Self {
            iterations: at_least_one("linear solver iterations", iterations)?,
            tolerance: positive("linear solver tolerance", tolerance)?,
        })
    }

    /// These limits, or the tolerance that `system` specifies.
    pub(crate) fn of(self, system: &System<'_>) -> Self {
        Self { tolerance: system.tolerance().unwrap_or(self.tolerance), ..self }
    }

    pub(crate) fn tolerance(self) -> f64 {
        self.tolerance
    }

    /// The status with which to end after `k` iterations at this relative residual, if they end.
    pub(crate) fn end(self, k: usize, residual: f64) -> Option<LinearStatus> {
        if !residual.is_finite() {
            Some(LinearStatus::NotFinite)
        } else if residual <= self.tolerance {
            Some(LinearStatus::Converged)
        } else if k >= self.iterations {
            Some(LinearStatus::IterationLimit)
        } else {
            None
        }
    }
}

impl Display for Limits {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "iterations {}, tolerance {:e}", self.iterations, self.tolerance)
    }
}

/// The best q of an iteration whose residual may increase.
#[derive(Clone)]
pub(crate) struct Best<T> {
    q: T,
    residual: f64,
}

/// How far above the smallest residual an iteration counts as diverging. The residual of convergent ones increases too
/// where the operator is not normal, but not so far.
const GROWTH: f64 = 100.0;

impl<T: Clone> Best<T> {
    pub(crate) fn new(q: &T, residual: f64) -> Self {
        Self { q: q.clone(), residual }
    }

    /// Records the next q; whether the iteration diverges.
    pub(crate) fn see(&mut self, q: &T, residual: f64) -> bool {
        if residual <= self.residual {
            *self = Self::new(q, residual);
        }
        residual > GROWTH * self.residual
    }

    pub(crate) fn into_parts(self) -> (T, f64) {
        (self.q, self.residual)
    }
}

impl Best<Vector> {
    pub(crate) fn end(self, status: LinearStatus) -> Solution {
        Solution::new(self.q, status, Some(self.residual))
    }
}
