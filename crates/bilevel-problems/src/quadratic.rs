//! Two quadratic levels with closed forms.

use bilevel_core::{Batches, BilevelProblem, Error, FullBatch};
use bilevel_program::Batch;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::instance::{squared_norm, vector};
use crate::{Instance, Values};

/// `quadratic`: x in R^m, y in R^n.
///
/// ```text
/// F = norm(y - c)^2 / 2 + r norm(x)^2 / 2,   f = y'A y / 2 - y'(C x + b)
/// y* = A^-1 (C x + b),   dF/dx = r x + C' A^-1 (y* - c)
/// ```
///
/// A is symmetric with eigenvalues equally spaced from `mu` to 1: `A = H D H` with a reflection
/// `H = I - 2 w w'`, so that its inverse is `H D^-1 H`. The solution solves a linear system in x.
#[derive(Clone, Debug)]
pub struct Quadratic {
    eigenvalues: Vec<f64>,
    /// w, of norm 1.
    axis: Vec<f64>,
    /// C, n rows of length m.
    coupling: Vec<Vec<f64>>,
    b: Vec<f64>,
    c: Vec<f64>,
    r: f64,
}

impl Quadratic {
    /// With x of dimension m, y of dimension n and `mu` the smallest eigenvalue of A; everything else is
    /// drawn from `seed`.
    ///
    /// # Errors
    /// If m or n is 0, or mu not in (0, 1].
    pub fn new(m: usize, n: usize, mu: f64, seed: u64) -> Result<Self, Error> {
        if m == 0 || n == 0 || !(mu > 0.0 && mu <= 1.0) {
            return Err(Error::InvalidSetting {
                setting: "quadratic",
                found: format!("m = {m}, n = {n}, mu = {mu}"),
                expected: "m and n of at least 1, mu in (0, 1]",
                cure: "give a positive definite problem with variables",
            });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw =
            |n: usize| -> Vec<f64> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let axis = draw(n);
        let norm = dot(&axis, &axis).sqrt();
        let last = n.saturating_sub(1).max(1) as f64;
        Ok(Self {
            eigenvalues: (0..n).map(|i| mu + (1.0 - mu) * i as f64 / last).collect(),
            axis: axis.iter().map(|w| w / norm).collect(),
            coupling: (0..n).map(|_| draw(m)).collect(),
            b: draw(n),
            c: draw(n),
            r: 0.5,
        })
    }

    /// At the start `x`, `y`.
    ///
    /// # Errors
    /// If a start does not have m or n entries, or is not finite.
    pub fn at(&self, x: &[f64], y: &[f64], device: &Device) -> Result<Instance, Error> {
        self.check_start(x, y)?;
        let (x, y) = (Values::new(x, device), Values::new(y, device));
        Instance::with_data(self.losses(), &x, &y, self.data(device))
    }

    /// At the start `x`, `y`, where each level is the mean of `batches` losses, given by [`Quadratic::terms`]
    /// in plain numbers: `Sample(i)` is batch i of its level.
    ///
    /// # Errors
    /// Those of [`Quadratic::at`], and if there are no batches.
    pub fn stochastic(
        &self,
        x: &[f64],
        y: &[f64],
        batches: usize,
        noise: f64,
        device: &Device,
    ) -> Result<Instance, Error> {
        self.check_start(x, y)?;
        let data = self.batches(batches, noise, device)?;
        let (x, y) = (Values::new(x, device), Values::new(y, device));
        Instance::with_data(self.losses(), &x, &y, data)
    }

    /// The two losses.
    pub fn losses(&self) -> QuadraticProblem {
        QuadraticProblem { r: self.r }
    }

    /// The matrices, for both levels.
    pub fn data(&self, device: &Device) -> FullBatch<QuadraticData> {
        let data = self.plain().data(device);
        FullBatch { upper: data.clone(), lower: data }
    }

    /// The matrices of each of the [`Quadratic::terms`], for both levels.
    ///
    /// # Errors
    /// If there are none.
    pub fn batches(
        &self,
        batches: usize,
        noise: f64,
        device: &Device,
    ) -> Result<Batches<QuadraticData>, Error> {
        let data: Vec<_> =
            self.terms(batches, noise).iter().map(|terms| terms.data(device)).collect();
        Batches::new(data.clone(), data)
    }

    /// The problem as the mean of `batches` problems. A, C, b and c differ from their means by perturbations
    /// of the order of `noise`, seeded by the index of the batch; the perturbations sum to zero.
    pub fn terms(&self, batches: usize, noise: f64) -> Vec<QuadraticTerms> {
        let (n, m) = (self.b.len(), self.coupling.first().map_or(0, Vec::len));
        let mut rng = ChaCha8Rng::seed_from_u64(batches as u64);
        let mut centred = |size: usize| -> Vec<Vec<f64>> {
            let mut draws: Vec<Vec<f64>> = (0..batches)
                .map(|_| (0..size).map(|_| noise * rng.random_range(-1.0..1.0)).collect())
                .collect();
            for at in 0..size {
                let mean = draws.iter().map(|d| d[at]).sum::<f64>() / batches as f64;
                draws.iter_mut().for_each(|d| d[at] -= mean);
            }
            draws
        };
        let (on_a, on_c) = (centred(n), centred(n * m));
        let (on_b, on_target) = (centred(n), centred(n));
        let a = self.matrix();
        let term = |i: usize| {
            let mut terms = QuadraticTerms {
                a: a.clone(),
                coupling: self.coupling.clone(),
                b: self.b.clone(),
                c: self.c.clone(),
                r: self.r,
            };
            for row in 0..n {
                // Only on the diagonal: A stays symmetric, and positive definite if the noise is below mu.
                terms.a[row][row] += on_a[i][row];
                terms.b[row] += on_b[i][row];
                terms.c[row] += on_target[i][row];
                for column in 0..m {
                    terms.coupling[row][column] += on_c[i][row * m + column];
                }
            }
            terms
        };
        (0..batches).map(term).collect()
    }

    /// The problem itself, in plain numbers.
    pub fn plain(&self) -> QuadraticTerms {
        QuadraticTerms {
            a: self.matrix(),
            coupling: self.coupling.clone(),
            b: self.b.clone(),
            c: self.c.clone(),
            r: self.r,
        }
    }

    /// `F(x, y*(x))`.
    pub fn value(&self, x: &[f64]) -> f64 {
        let away: Vec<f64> =
            self.lower_solution(x).iter().zip(&self.c).map(|(y, c)| y - c).collect();
        (dot(&away, &away) + self.r * dot(x, x)) / 2.0
    }

    /// A.
    fn matrix(&self) -> Vec<Vec<f64>> {
        let n = self.b.len();
        let unit = |j: usize| (0..n).map(|i| f64::from(u8::from(i == j))).collect::<Vec<_>>();
        (0..n).map(|j| self.apply(&unit(j), |d| d)).collect()
    }

    fn check_start(&self, x: &[f64], y: &[f64]) -> Result<(), Error> {
        let (n, m) = (self.b.len(), self.coupling.first().map_or(0, Vec::len));
        if (x.len(), y.len()) == (m, n) {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting: "start",
            found: format!("{} and {} numbers", x.len(), y.len()),
            expected: "as many as the problem has in x and y",
            cure: "give m numbers for x and n for y",
        })
    }

    /// `y*(x)`.
    pub fn lower_solution(&self, x: &[f64]) -> Vec<f64> {
        self.apply(&self.plain().pull(x), |d| 1.0 / d)
    }

    /// `dF(x, y*(x))/dx`.
    pub fn hypergradient(&self, x: &[f64]) -> Vec<f64> {
        let y = self.lower_solution(x);
        let slope: Vec<f64> = y.iter().zip(&self.c).map(|(y, c)| y - c).collect();
        let q = self.apply(&slope, |d| 1.0 / d);
        let coupled =
            |j: usize| self.coupling.iter().zip(&q).map(|(row, q)| row[j] * q).sum::<f64>();
        x.iter().enumerate().map(|(j, x)| self.r * x + coupled(j)).collect()
    }

    /// `H g(D) H v`.
    fn apply(&self, v: &[f64], g: impl Fn(f64) -> f64) -> Vec<f64> {
        let reflect = |v: &[f64]| -> Vec<f64> {
            let along = 2.0 * dot(&self.axis, v);
            v.iter().zip(&self.axis).map(|(v, w)| v - along * w).collect()
        };
        let inner: Vec<f64> =
            reflect(v).iter().zip(&self.eigenvalues).map(|(v, d)| v * g(*d)).collect();
        reflect(&inner)
    }
}

/// The losses of [`Quadratic`], or of one of its batches, and their derivatives in plain numbers, for tests
/// that write out the formulas of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct QuadraticTerms {
    a: Vec<Vec<f64>>,
    coupling: Vec<Vec<f64>>,
    b: Vec<f64>,
    c: Vec<f64>,
    r: f64,
}

impl QuadraticTerms {
    /// `F(x, y)`.
    pub fn upper(&self, x: &[f64], y: &[f64]) -> f64 {
        let away = self.upper_y(y);
        (dot(&away, &away) + self.r * dot(x, x)) / 2.0
    }

    /// `f(x, y)`.
    pub fn lower(&self, x: &[f64], y: &[f64]) -> f64 {
        dot(y, &self.hessian(y)) / 2.0 - dot(y, &self.pull(x))
    }

    /// `F_x = r x`.
    pub fn upper_x(&self, x: &[f64]) -> Vec<f64> {
        x.iter().map(|x| self.r * x).collect()
    }

    /// `F_y = y - c`.
    pub fn upper_y(&self, y: &[f64]) -> Vec<f64> {
        y.iter().zip(&self.c).map(|(y, c)| y - c).collect()
    }

    /// `f_y = A y - C x - b`.
    pub fn lower_y(&self, x: &[f64], y: &[f64]) -> Vec<f64> {
        self.hessian(y).iter().zip(self.pull(x)).map(|(a, p)| a - p).collect()
    }

    /// `f_x = -C' y`, hence `f_xy' v = -C' v`.
    pub fn lower_x(&self, y: &[f64]) -> Vec<f64> {
        let columns = self.coupling.first().map_or(0, Vec::len);
        let column = |j: usize| self.coupling.iter().zip(y).map(|(row, y)| row[j] * y).sum::<f64>();
        (0..columns).map(|j| -column(j)).collect()
    }

    /// `f_yy v = A v`.
    pub fn hessian(&self, v: &[f64]) -> Vec<f64> {
        self.a.iter().map(|row| dot(row, v)).collect()
    }

    fn pull(&self, x: &[f64]) -> Vec<f64> {
        self.coupling.iter().zip(&self.b).map(|(row, b)| dot(row, x) + b).collect()
    }

    fn data(&self, device: &Device) -> QuadraticData {
        let matrix = |rows: &[Vec<f64>]| {
            let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
            Tensor::from_data(TensorData::new(rows.concat(), shape), device)
        };
        QuadraticData {
            a: matrix(&self.a),
            coupling: matrix(&self.coupling),
            b: vector(&self.b, device),
            c: vector(&self.c, device),
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The losses of [`Quadratic`].
#[derive(Clone, Copy, Debug)]
pub struct QuadraticProblem {
    r: f64,
}

/// The matrices of [`Quadratic`].
#[derive(Clone, Debug, Batch)]
pub struct QuadraticData {
    a: Tensor<2>,
    coupling: Tensor<2>,
    b: Tensor<1>,
    c: Tensor<1>,
}

fn times(matrix: &Tensor<2>, v: Tensor<1>) -> Tensor<1> {
    matrix.clone().matmul(v.unsqueeze_dim(1)).squeeze_dim(1)
}

impl BilevelProblem for QuadraticProblem {
    type Upper = Values;
    type Lower = Values;
    type Batch = QuadraticData;

    fn upper_loss(&self, x: &Values, y: &Values, data: &QuadraticData) -> Tensor<1> {
        (squared_norm(y.val() - data.c.clone()) + squared_norm(x.val()) * self.r) * 0.5
    }

    fn lower_loss(&self, x: &Values, y: &Values, data: &QuadraticData) -> Tensor<1> {
        let y = y.val();
        let pull = times(&data.coupling, x.val()) + data.b.clone();
        (y.clone() * times(&data.a, y.clone())).sum() * 0.5 - (y * pull).sum()
    }
}
