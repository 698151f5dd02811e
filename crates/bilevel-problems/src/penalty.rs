//! Quadratic problems with few lower steps, or with a singular lower Hessian.

use bilevel_core::{BilevelProblem, Error};
use bilevel_program::Batch;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::instance::squared_norm;
use crate::{Instance, Values};

/// Which of the two problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// `F = norm(u)^2 + norm(v)^2`, `f = q(1 - u - v)`
    A,
    /// `F = norm(v)^2 - q(u - v)`, `f = q(u - v)`
    B,
}

/// `penalty-smooth`: x = u, y = v in R^10 and `q(w) = norm(w)^2`. An instance holds several independent
/// trials in one batch and its losses are their sums: trial i has entries 10 i to 10 i + 9.
///
/// Solutions: u = v = 1/2 for [`Variant::A`], u = v = 0 for [`Variant::B`].
///
/// Source: penalty method, Fig. 1.
#[derive(Clone, Copy, Debug)]
pub struct PenaltySmooth(pub Variant);

/// `penalty-singular`: the same with `q(w) = w' A'A w`, where A is a Gaussian matrix of [`Self::RANK`] rows.
///
/// The lower level determines v up to the null space of A. Among its solutions F selects, for [`Variant::A`],
/// u = v = 1/2 in the range of A' and both 0 in its null space; for [`Variant::B`], u = v in the range and v
/// = 0, so that Au = 0.
///
/// Source: penalty method, Fig. 2.
#[derive(Clone, Copy, Debug)]
pub struct PenaltySingular(pub Variant);

/// The dimension of u and of v in the source.
pub const SIZE: usize = 10;

impl PenaltySmooth {
    /// With the given number of trials. u and v are drawn from the cube of side 2 around 0, seeded by the
    /// index of the trial.
    ///
    /// # Errors
    /// If there are none.
    pub fn at(self, trials: usize, device: &Device) -> Result<Instance, Error> {
        instance(self.0, |_| identity(), trials, device)
    }

    /// The squared distance of one trial from the solution.
    pub fn distance(self, u: &[f64], v: &[f64]) -> f64 {
        let answer = if self.0 == Variant::A { 0.5 } else { 0.0 };
        u.iter().chain(v).map(|w| (w - answer).powi(2)).sum()
    }
}

impl PenaltySingular {
    /// The rank of A.
    pub const RANK: usize = 5;

    /// With the given number of trials. u and v are drawn from the cube of side 2 around 0, seeded like A by
    /// the index of the trial.
    ///
    /// # Errors
    /// If there are none.
    pub fn at(self, trials: usize, device: &Device) -> Result<Instance, Error> {
        instance(self.0, Self::matrix, trials, device)
    }

    /// A of one trial: [`Self::RANK`] rows of standard normal numbers, and rows of zeros.
    pub fn matrix(trial: u64) -> Vec<Vec<f64>> {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::MAX - trial);
        let mut row = || (0..SIZE).map(|_| rng.sample(StandardNormal)).collect::<Vec<f64>>();
        let mut rows: Vec<_> = (0..Self::RANK).map(|_| row()).collect();
        rows.resize(SIZE, vec![0.0; SIZE]);
        rows
    }

    /// The row space of the A of a trial.
    pub fn range(trial: u64) -> Range {
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for mut row in Self::matrix(trial).into_iter().take(Self::RANK) {
            for other in &basis {
                let along = dot(&row, other);
                add(&mut row, -along, other);
            }
            let norm = dot(&row, &row).sqrt();
            basis.push(row.iter().map(|a| a / norm).collect());
        }
        Range { basis }
    }

    /// The squared distance of one trial, whose A has this row space, from its nearest solution.
    pub fn distance(self, range: &Range, u: &[f64], v: &[f64]) -> f64 {
        let project = |w: &[f64]| range.project(w);
        let ones = [1.0; SIZE];
        let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        match self.0 {
            // P(u) = P(v) = P(1)/2, and zero in the null space.
            Variant::A => {
                let half: Vec<f64> = project(&ones).iter().map(|r| r / 2.0).collect();
                far(u, &half) + far(v, &half)
            }
            // v = 0 and P(u) = 0: the rest of u is free.
            Variant::B => far(v, &[0.0; SIZE]) + far(&project(u), &[0.0; SIZE]),
        }
    }
}

/// The row space of a matrix A.
#[derive(Clone, Debug)]
pub struct Range {
    /// Orthonormal.
    basis: Vec<Vec<f64>>,
}

impl Range {
    /// The nearest point of it.
    pub fn project(&self, w: &[f64]) -> Vec<f64> {
        let mut nearest = vec![0.0; SIZE];
        for row in &self.basis {
            add(&mut nearest, dot(row, w), row);
        }
        nearest
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `to + a of`
fn add(to: &mut [f64], a: f64, of: &[f64]) {
    to.iter_mut().zip(of).for_each(|(to, of)| *to += a * of);
}

/// The matrices A of `q(w) = norm(A w)^2`, one per trial: `[trials, 10, 10]`.
#[derive(Clone, Debug, Batch)]
pub struct Matrix {
    rows: Tensor<3>,
}

impl Matrix {
    fn q(&self, w: Tensor<1>) -> Tensor<1> {
        let trials = self.rows.dims()[0];
        self.rows.clone().matmul(w.reshape([trials, SIZE, 1])).powi_scalar(2).sum()
    }
}

/// The losses of both problems.
#[derive(Clone, Copy, Debug)]
pub struct PenaltyProblem(pub Variant);

impl BilevelProblem for PenaltyProblem {
    type Upper = Values;
    type Lower = Values;
    type Batch = Matrix;

    fn upper_loss(&self, u: &Values, v: &Values, a: &Matrix) -> Tensor<1> {
        match self.0 {
            Variant::A => squared_norm(u.val()) + squared_norm(v.val()),
            Variant::B => squared_norm(v.val()) - a.q(u.val() - v.val()),
        }
    }

    fn lower_loss(&self, u: &Values, v: &Values, a: &Matrix) -> Tensor<1> {
        match self.0 {
            Variant::A => a.q(-(u.val() + v.val()) + 1.0),
            Variant::B => a.q(u.val() - v.val()),
        }
    }
}

fn identity() -> Vec<Vec<f64>> {
    (0..SIZE).map(|i| (0..SIZE).map(|j| f64::from(u8::from(i == j))).collect()).collect()
}

fn instance(
    variant: Variant,
    matrix: impl Fn(u64) -> Vec<Vec<f64>>,
    trials: usize,
    device: &Device,
) -> Result<Instance, Error> {
    if trials == 0 {
        return Err(Error::InvalidSetting {
            setting: "trials",
            found: "0".to_owned(),
            expected: "at least 1",
            cure: "give a positive count",
        });
    }
    let (mut u, mut v, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for trial in 0..trials as u64 {
        let mut rng = ChaCha8Rng::seed_from_u64(trial);
        let mut draw = || (0..SIZE).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f64>>();
        u.extend(draw());
        v.extend(draw());
        rows.extend(matrix(trial).concat());
    }
    let rows = Tensor::from_data(TensorData::new(rows, [trials, SIZE, SIZE]), device);
    let (u, v) = (Values::new(&u, device), Values::new(&v, device));
    Instance::new(PenaltyProblem(variant), &u, &v, Matrix { rows })
}
