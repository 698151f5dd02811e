//! Shared by the tests of methods: a quadratic problem, in tensors and in plain numbers, and vector
//! arithmetic for writing out the formulas of the papers.

use std::ops::{Add, Mul, Sub};

use bilevel_core::*;
use bilevel_problems::{Instance, Quadratic};

use crate::device;

pub const M: usize = 3;
pub const N: usize = 5;
pub const X: [f64; M] = [0.4, -0.9, 1.2];
pub const Y: [f64; N] = [0.3, -0.2, 0.8, -0.5, 0.1];

pub fn problem() -> Quadratic {
    Quadratic::new(M, N, 0.3, 7).unwrap()
}

/// The problem at `X` and `Y`.
pub fn instance() -> Instance {
    problem().at(&X, &Y, &device()).unwrap()
}

/// The problem at `X` and `Y`, where each level is the mean of `batches` losses.
pub fn stochastic(batches: usize, noise: f64) -> Instance {
    problem().stochastic(&X, &Y, batches, noise, &device()).unwrap()
}

/// A list of numbers with vector arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub struct V(pub Vec<f64>);

impl V {
    pub fn dot(&self, other: &Self) -> f64 {
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }

    pub fn norm(&self) -> f64 {
        self.dot(self).sqrt()
    }
}

impl From<&[f64]> for V {
    fn from(values: &[f64]) -> Self {
        Self(values.to_vec())
    }
}

impl Add for &V {
    type Output = V;
    fn add(self, other: &V) -> V {
        V(self.0.iter().zip(&other.0).map(|(a, b)| a + b).collect())
    }
}

impl Sub for &V {
    type Output = V;
    fn sub(self, other: &V) -> V {
        V(self.0.iter().zip(&other.0).map(|(a, b)| a - b).collect())
    }
}

impl Mul<&V> for f64 {
    type Output = V;
    fn mul(self, v: &V) -> V {
        V(v.0.iter().map(|b| self * b).collect())
    }
}

/// x and y after `steps` steps of `method` on `instance`.
pub fn run(
    instance: &Instance,
    method: impl JointMethod + 'static,
    sampler: Sampler,
    steps: usize,
) -> (V, V) {
    let (x, y) = (instance.x.clone(), instance.y.clone());
    let solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
    let mut solver = solver.with_sampler(sampler);
    for k in 0..steps {
        solver.step(k).unwrap();
    }
    (V(solver.x().to_vec()), V(solver.y().to_vec()))
}

#[track_caller]
pub fn assert_near(what: &str, found: &V, expected: &V, tolerance: f64) {
    let error = (found - expected).norm() / expected.norm().max(1e-3);
    assert!(error <= tolerance, "{what}: found {found:?}, expected {expected:?}, off {error:e}");
}
