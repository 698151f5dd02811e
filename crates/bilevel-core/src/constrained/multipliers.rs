//! The terms of the augmented Lagrangian.

use super::terms::Terms;
use crate::Constraints;

/// Multipliers l, and the terms that the augmented Lagrangian adds to a loss with them,
///
/// ```text
/// sum_j (max(0, l_j + r g_j)^2 - l_j^2) / (2 r) + sum_k (l_k h_k + r h_k^2 / 2)
/// ```
///
/// whose gradient is that of the constraints weighted by the multipliers after a step,
///
/// ```text
/// l_j' = max(0, l_j + r g_j),   l_k' = l_k + r h_k,   r' = 10 r where norm(l' - l) / r has not fallen to a quarter
/// ```
///
/// Source: R. T. Rockafellar, "Augmented Lagrange multiplier functions and duality in nonconvex programming", 1974.
#[derive(Clone, Debug)]
pub(crate) struct Multipliers {
    /// l, those of inequalities first.
    pub values: Vec<f64>,
    /// r
    pub penalty: f64,
    /// How far the constraints were from holding, or their multipliers from being needed, at the last step: the largest
    /// of `abs(l' - l) / r`.
    pub excess: f64,
    inequalities: usize,
}

/// The first r.
const PENALTY: f64 = 10.0;

/// The largest r.
const LARGEST: f64 = 1e8;

impl Multipliers {
    /// `values` for `constraints`.
    pub fn new(constraints: &dyn Constraints, values: Vec<f64>) -> Self {
        let inequalities = constraints.count() - constraints.equalities();
        Self { values, penalty: PENALTY, excess: f64::INFINITY, inequalities }
    }

    /// Whether a constraint is an inequality.
    pub fn is_bound(&self, j: usize) -> bool {
        j < self.inequalities
    }

    /// l' at these values of the constraints.
    pub fn moved(&self, constraints: &[f64]) -> Vec<f64> {
        let moved = self.values.iter().zip(constraints).map(|(l, c)| l + self.penalty * c);
        moved.enumerate().map(|(j, l)| if self.is_bound(j) { l.max(0.0) } else { l }).collect()
    }

    /// From l and r to l' and r'.
    pub fn step(&mut self, constraints: &[f64]) {
        let moved = self.moved(constraints);
        let changes = moved.iter().zip(&self.values).map(|(a, b)| (a - b).abs());
        let excess = changes.fold(0.0, f64::max) / self.penalty;
        if excess > self.excess / 4.0 {
            self.penalty = (10.0 * self.penalty).min(LARGEST);
        }
        (self.values, self.excess) = (moved, excess);
    }
}

impl Terms for Multipliers {
    fn sum(&self, constraints: &[f64]) -> f64 {
        let pairs = self.moved(constraints).into_iter().zip(&self.values);
        pairs.map(|(moved, l)| (moved * moved - l * l) / (2.0 * self.penalty)).sum()
    }

    fn slopes(&self, constraints: &[f64]) -> Vec<f64> {
        self.moved(constraints)
    }

    fn curvatures(&self, constraints: &[f64]) -> Vec<f64> {
        let moved = self.moved(constraints).into_iter().enumerate();
        let is_off = |j, l: f64| self.is_bound(j) && l <= 0.0;
        moved.map(|(j, l)| if is_off(j, l) { 0.0 } else { self.penalty }).collect()
    }
}
