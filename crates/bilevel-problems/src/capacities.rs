//! A sparse quadratic of any size with coupled constraints.

use bilevel_core::{Answer, BilevelProblem, Conditions, Error, FullBatch, Objective, solve};
use burn::tensor::{Device, Tensor};

use crate::Values;
use crate::instance::{squared_norm, vector};

/// `capacities`: m capacities x, and a chain y of dimension 10 m, whose block j has at most the capacity `x_j`.
///
/// ```text
/// min_x F = norm(y - d)^2 / 2 + norm(x - e)^2 / 2   with x <= u
/// y*(x) in argmin_y f = norm(y)^2 / 2 + sum_i (y_{i+1} - y_i)^2 / 2 - <b, y>   with (sum of block j) <= x_j
/// ```
///
/// Neighbours are coupled across the blocks, so that each y depends on each x. b, d, e and u are derived from a
/// solution: with `Q = f_yy`, A the sums of the blocks, l and n multipliers, and q, r the solution of the system of the
/// hypergradient,
///
/// ```text
/// b = Q y + A' l,   d = y - Q q - A' r with A_j q = 0 where l_j > 0,   e = x + r + n
/// ```
///
/// Every other block is full (l > 0, and r = 0 in the others), half of the bounds u are reached (n > 0).
#[derive(Clone, Debug)]
pub struct Capacities {
    x: Vec<f64>,
    y: Vec<f64>,
    b: Vec<f64>,
    d: Vec<f64>,
    e: Vec<f64>,
    u: Vec<f64>,
}

/// The entries of y per block.
const BLOCK: usize = 10;

impl Capacities {
    /// With m blocks.
    ///
    /// # Errors
    /// If m is 0.
    pub fn new(m: usize) -> Result<Self, Error> {
        if m == 0 {
            return Err(Error::InvalidSetting {
                setting: "blocks",
                found: "0".into(),
                expected: "at least 1",
                cure: "each block has a capacity and ten numbers of y",
            });
        }
        let blocks = |of: &dyn Fn(usize) -> f64| (0..m).map(of).collect::<Vec<_>>();
        let chain = |of: &dyn Fn(usize) -> f64| (0..m * BLOCK).map(of).collect::<Vec<_>>();
        let is_full = |j: usize| j.is_multiple_of(2);
        let full = |of: f64, j: usize| if is_full(j) { of } else { 0.0 };
        let y = chain(&|i| (0.7 * i as f64).sin() + 0.5);
        let l = blocks(&|j| full(1.5 + (1.3 * j as f64).sin(), j));
        let r = blocks(&|j| full(0.2 * (2.1 * j as f64).cos(), j));
        let n = blocks(&|j| if j % 4 < 2 { 0.5 } else { 0.0 });
        let sums = sums(&y);
        let x = blocks(&|j| sums[j] + if is_full(j) { 0.0 } else { 0.5 });
        let q = chain(&|i| 0.3 * (3.0 * i as f64).cos());
        let means: Vec<_> = self::sums(&q).iter().map(|sum| sum / BLOCK as f64).collect();
        let q = chain(&|i| q[i] - full(means[i / BLOCK], i / BLOCK));
        let (qy, qq) = (curved(&y), curved(&q));
        Ok(Self {
            b: chain(&|i| qy[i] + l[i / BLOCK]),
            d: chain(&|i| y[i] - qq[i] - r[i / BLOCK]),
            e: blocks(&|j| x[j] + r[j] + n[j]),
            u: blocks(&|j| x[j] + if n[j] > 0.0 { 0.0 } else { 1.0 }),
            x,
            y,
        })
    }

    /// The solution x.
    pub fn x(&self) -> &[f64] {
        &self.x
    }

    /// The solution y.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// F and f there.
    pub fn best(&self) -> [f64; 2] {
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
        let upper: f64 = [square(&self.y, &self.d), square(&self.x, &self.e)].iter().sum();
        let curved = curved(&self.y);
        let lower = self.y.iter().zip(curved.iter().zip(&self.b));
        [upper / 2.0, lower.map(|(y, (q, b))| y * (q / 2.0 - b)).sum()]
    }

    /// Solves it from 0.
    ///
    /// # Errors
    /// If the default float type of `device` is not f64.
    pub fn solve(&self, device: &Device) -> Result<Answer<Values, Values>, Error> {
        let zeros = |n: usize| Values::new(&vec![0.0; n], device);
        let (x, y) = (zeros(self.x.len()), zeros(self.y.len()));
        solve(self, &x, &y, FullBatch { upper: (), lower: () })
    }
}

/// `Q v` of the chain.
fn curved(v: &[f64]) -> Vec<f64> {
    let at = |i: usize| {
        let before = i.checked_sub(1).map_or(0.0, |k| v[i] - v[k]);
        v[i] + before + v.get(i + 1).map_or(0.0, |next| v[i] - next)
    };
    (0..v.len()).map(at).collect()
}

/// The sums of the blocks.
fn sums(v: &[f64]) -> Vec<f64> {
    v.chunks(BLOCK).map(|block| block.iter().sum()).collect()
}

impl BilevelProblem for Capacities {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        let (x, y) = (x.val(), y.val());
        let (d, e) = (vector(&self.d, &y.device()), vector(&self.e, &x.device()));
        (squared_norm(y - d) + squared_norm(x - e)) * 0.5
    }

    fn lower_loss(&self, _: &Values, y: &Values, (): &()) -> Tensor<1> {
        let y = y.val();
        let (n, b) = (self.y.len(), vector(&self.b, &y.device()));
        let steps = y.clone().slice(1..n) - y.clone().slice(0..n - 1);
        (squared_norm(y.clone()) + squared_norm(steps)) * 0.5 - (y * b).sum()
    }

    fn constraints(&self, level: Objective, x: &Values, y: &Values, (): &()) -> Conditions {
        let x = x.val();
        Conditions::at_most_zero(match level {
            Objective::Upper => x.clone() - vector(&self.u, &x.device()),
            Objective::Lower => {
                y.val().reshape([self.x.len(), BLOCK]).sum_dim(1).squeeze_dim::<1>(1) - x
            }
        })
    }
}
