//! Losses whose second derivatives change with x and y in every entry, which reveals a product taken at the
//! wrong point.

use bilevel_core::*;
use bilevel_problems::{Instance, Values};
use bilevel_program::Batch;
use burn::tensor::{Tensor, TensorData};

use super::plain::Losses;
use crate::common::*;
use crate::device;

/// With `x` mapped to the space of y by a fixed matrix, `z = S x`:
///
/// ```text
/// f = sum a y^2 / 2 + y^4 / 12 + z^2 y^2 / 4 - b y z,   F = sum (y - c)^2 / 2 + z^2 y^2 / 4 + z^2 / 4
/// ```
pub struct Quartic {
    upper: Vec<V>,
    lower: Vec<(V, V)>,
}

fn numbers(seed: usize, from: f64) -> V {
    V((0..N).map(|i| from + 0.6 * ((3 * seed + 5 * i) as f64).sin()).collect())
}

/// S, N rows of length M.
fn spread() -> Vec<Vec<f64>> {
    (0..N).map(|i| (0..M).map(|j| ((i + 2 * j) as f64).cos() / 2.0).collect()).collect()
}

fn z(x: &V) -> V {
    V(spread().iter().map(|row| V(row.clone()).dot(x)).collect())
}

/// `S' v`.
fn back(v: &V) -> V {
    V((0..M).map(|j| spread().iter().zip(&v.0).map(|(row, v)| row[j] * v).sum()).collect())
}

fn entries(f: impl Fn(usize) -> f64) -> V {
    V((0..N).map(f).collect())
}

impl Quartic {
    /// With the given numbers of batches.
    pub fn new(upper: usize, lower: usize) -> Self {
        Self {
            upper: (0..upper).map(|batch| numbers(batch + 1, 0.3)).collect(),
            lower: (0..lower)
                .map(|batch| (numbers(batch + 7, 1.2), numbers(batch + 13, 0.5)))
                .collect(),
        }
    }

    pub fn instance(&self) -> Instance {
        let tensor =
            |v: &V| Tensor::<1>::from_data(TensorData::new(v.0.clone(), [v.0.len()]), &device());
        let s = Tensor::<2>::from_data(TensorData::new(spread().concat(), [N, M]), &device());
        let batch = |a: &V, b: &V| QuarticData { a: tensor(a), b: tensor(b), spread: s.clone() };
        let upper = self.upper.iter().map(|c| batch(c, c)).collect();
        let lower = self.lower.iter().map(|(a, b)| batch(a, b)).collect();
        let (x, y) = (Values::new(&X, &device()), Values::new(&Y, &device()));
        Instance::with_data(QuarticProblem, &x, &y, Batches::new(upper, lower).unwrap()).unwrap()
    }
}

impl Losses for Quartic {
    fn f_y(&self, batch: usize, x: &V, y: &V) -> V {
        let ((a, b), z) = (&self.lower[batch], z(x));
        entries(|i| {
            let (y, z) = (y.0[i], z.0[i]);
            a.0[i] * y + y.powi(3) / 3.0 + z * z * y / 2.0 - b.0[i] * z
        })
    }

    fn f_yy(&self, batch: usize, x: &V, y: &V, v: &V) -> V {
        let ((a, _), z) = (&self.lower[batch], z(x));
        entries(|i| (a.0[i] + y.0[i].powi(2) + z.0[i].powi(2) / 2.0) * v.0[i])
    }

    fn f_xy(&self, batch: usize, x: &V, y: &V, v: &V) -> V {
        let ((_, b), z) = (&self.lower[batch], z(x));
        back(&entries(|i| (z.0[i] * y.0[i] - b.0[i]) * v.0[i]))
    }

    fn upper_y(&self, batch: usize, x: &V, y: &V) -> V {
        let (c, z) = (&self.upper[batch], z(x));
        entries(|i| y.0[i] - c.0[i] + z.0[i].powi(2) * y.0[i] / 2.0)
    }

    fn upper_x(&self, _: usize, x: &V, y: &V) -> V {
        let z = z(x);
        back(&entries(|i| z.0[i] * (y.0[i].powi(2) + 1.0) / 2.0))
    }
}

struct QuarticProblem;

fn square(values: Tensor<1>) -> Tensor<1> {
    values.clone() * values
}

#[derive(Clone, Debug, Batch)]
struct QuarticData {
    a: Tensor<1>,
    b: Tensor<1>,
    spread: Tensor<2>,
}

impl QuarticData {
    fn z(&self, x: &Values) -> Tensor<1> {
        self.spread.clone().matmul(x.val().unsqueeze_dim(1)).squeeze_dim(1)
    }
}

impl BilevelProblem for QuarticProblem {
    type Upper = Values;
    type Lower = Values;
    type Batch = QuarticData;

    fn upper_loss(&self, x: &Values, y: &Values, data: &QuarticData) -> Tensor<1> {
        let (z, y) = (square(data.z(x)), y.val());
        let away = square(y.clone() - data.b.clone()) * 0.5;
        (away + z.clone() * square(y) * 0.25 + z * 0.25).sum()
    }

    fn lower_loss(&self, x: &Values, y: &Values, data: &QuarticData) -> Tensor<1> {
        let (z, y) = (data.z(x), y.val());
        let y_squared = square(y.clone());
        // Not `/ 12`: Burn rounds the gradient of a division by a scalar to f32.
        let quartic = square(y_squared.clone()) * (1.0 / 12.0);
        let bowl = data.a.clone() * y_squared.clone() * 0.5 + quartic;
        (bowl + square(z.clone()) * y_squared * 0.25 - data.b.clone() * y * z).sum()
    }
}
