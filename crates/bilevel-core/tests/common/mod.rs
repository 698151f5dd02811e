//! Problems with known answers, and the properties every hypergradient must have on them. Written once
//! for any device; each test binary fixes one and the element type.

use bilevel_core::{
    ApproxGrad, Armijo, AutodiffOracle, BiCgStab, BilevelProblem, Cg, Counted, Dense, Descent,
    Dynamics, Error, Fad, Fista, FixedPoint, FullBatch, Gd, Gmres, HypergradientMethod, Implicit,
    Lbfgs, LowerProblem, Momentum, Neumann, Newton, NormalCg, Objective, Samples, Status, Unrolled,
};
use bilevel_program::{Batch, Vector};
use burn::module::{Module, Param};
use burn::nn::BatchNorm;
use burn::tensor::{Device, Tensor, TensorData, activation};

/// A vector as a module: penalties, weights.
#[derive(Module, Debug)]
pub struct Values {
    pub values: Param<Tensor<1>>,
}

impl Values {
    pub fn new(values: &[f64], device: &Device) -> Self {
        Self { values: Param::from_tensor(vector(values, device)) }
    }
}

/// Points and targets.
#[derive(Batch, Clone, Debug)]
pub struct Points {
    pub inputs: Tensor<2>,
    pub targets: Tensor<1>,
}

/// The loss of a linear model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fit {
    /// `mean((a w - b)^2) / 2`
    Squares,
    /// `mean(log(1 + exp(-b a w)))`, b = +-1
    Logistic,
}

/// One penalty per feature: `f = fit(w; train) + sum_j exp(x_j) w_j^2 / 2`, `F = fit(w; validation)`.
#[derive(Clone, Copy, Debug)]
pub struct Penalties {
    pub fit: Fit,
}

impl Penalties {
    fn fit(&self, w: &Values, batch: &Points) -> Tensor<1> {
        let scores = batch.inputs.clone().matmul(w.values.val().unsqueeze_dim(1)).squeeze_dim(1);
        match self.fit {
            Fit::Squares => (scores - batch.targets.clone()).powi_scalar(2).mean() / 2,
            Fit::Logistic => -activation::log_sigmoid(scores * batch.targets.clone()).mean(),
        }
    }
}

impl BilevelProblem for Penalties {
    type Upper = Values;
    type Lower = Values;
    type Batch = Points;

    fn upper_loss(&self, _: &Values, w: &Values, batch: &Points) -> Tensor<1> {
        self.fit(w, batch)
    }

    fn lower_loss(&self, x: &Values, w: &Values, batch: &Points) -> Tensor<1> {
        let w_squared = w.values.val().powi_scalar(2);
        self.fit(w, batch) + (x.values.val().exp() * w_squared).sum() / 2
    }
}

/// A layer whose output depends on whether it is trained.
pub struct Normalised;

impl BilevelProblem for Normalised {
    type Upper = Values;
    type Lower = BatchNorm;
    type Batch = Tensor<2>;

    fn upper_loss(&self, _: &Values, y: &BatchNorm, inputs: &Tensor<2>) -> Tensor<1> {
        y.forward(inputs.clone()).abs().mean()
    }

    fn lower_loss(&self, x: &Values, y: &BatchNorm, inputs: &Tensor<2>) -> Tensor<1> {
        (y.forward(inputs.clone()) * x.values.val().unsqueeze()).powi_scalar(2).sum()
    }
}

/// Lower losses from which no run can start.
pub enum Refused {
    /// One value per sample.
    NotScalar,
    /// `log(-1)`.
    NotFinite,
    /// It reads a number, which recorded losses cannot.
    Reads,
}

impl BilevelProblem for Refused {
    type Upper = Values;
    type Lower = Values;
    type Batch = Tensor<1>;

    fn upper_loss(&self, _: &Values, y: &Values, _: &Tensor<1>) -> Tensor<1> {
        y.values.val().sum()
    }

    fn lower_loss(&self, _: &Values, y: &Values, batch: &Tensor<1>) -> Tensor<1> {
        match self {
            Self::NotScalar => y.values.val() * batch.clone(),
            Self::Reads => {
                let most: f64 = y.values.val().abs().max().into_data().iter().next().unwrap();
                y.values.val().sum() * most
            }
            Self::NotFinite => (y.values.val().abs().sum() * -1.0).log(),
        }
    }
}

pub const FEATURES: usize = 5;
const TRAIN: usize = 24;
const VALIDATION: usize = 16;

/// Numbers in [-1, 1] that look random and are the same everywhere.
pub fn numbers(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    };
    (0..n + 8).map(|_| next()).skip(8).collect()
}

pub fn vector(values: &[f64], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// The data of one level in plain numbers: rows and targets.
pub fn points(fit: Fit, objective: Objective) -> (Vec<Vec<f64>>, Vec<f64>) {
    let (n, seed) = match objective {
        Objective::Lower => (TRAIN, 1),
        Objective::Upper => (VALIDATION, 2),
    };
    let rows: Vec<_> = numbers(seed, n * FEATURES).chunks(FEATURES).map(<[f64]>::to_vec).collect();
    let truth = [1.5, -0.7, 0.0, 0.4, -1.1];
    let noise = numbers(seed + 10, n);
    let scores = rows
        .iter()
        .zip(noise)
        .map(|(row, e)| row.iter().zip(truth).map(|(a, w)| a * w).sum::<f64>() + 0.3 * e);
    let targets = match fit {
        Fit::Squares => scores.collect(),
        Fit::Logistic => scores.map(f64::signum).collect(),
    };
    (rows, targets)
}

pub fn batch(fit: Fit, objective: Objective, device: &Device) -> Points {
    let (rows, targets) = points(fit, objective);
    let inputs = TensorData::new(rows.concat(), [rows.len(), FEATURES]);
    Points { inputs: Tensor::from_data(inputs, device), targets: vector(&targets, device) }
}

pub const X: [f64; FEATURES] = [-1.0, 0.2, 0.5, -0.4, -2.0];

pub type PenaltiesOracle = Counted<AutodiffOracle<Penalties, FullBatch<Points>>>;

/// Penalties at `X`, to train.
pub fn upper_module(device: &Device) -> Values {
    Values::new(&X, device)
}

/// The oracle of [`Penalties`] at `x`, weights 0.
pub fn penalties_at(fit: Fit, x: &Values, device: &Device) -> PenaltiesOracle {
    let w = Values::new(&[0.0; FEATURES], device);
    let data = FullBatch {
        upper: batch(fit, Objective::Upper, device),
        lower: batch(fit, Objective::Lower, device),
    };
    Counted::new(AutodiffOracle::new(Penalties { fit }, x, &w, data).unwrap())
}

pub fn penalties(fit: Fit, device: &Device) -> PenaltiesOracle {
    penalties_at(fit, &upper_module(device), device)
}

pub fn descent<S: Dynamics + 'static>(dynamics: Result<S, Error>, steps: usize) -> Descent {
    Descent::new(dynamics.unwrap(), steps).unwrap()
}

/// The hypergradient of `method` at the start of `oracle`.
pub fn hypergradient(
    oracle: &PenaltiesOracle,
    method: &mut dyn HypergradientMethod,
) -> (Vec<f64>, Status) {
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let problem = LowerProblem::new(oracle, &x, Samples::default());
    let found = method.hypergradient(problem, &y).unwrap();
    (found.gradient.to_vec(), found.status)
}

/// 5-point differences of `x -> F(x, y(x))`, `y` by `descent`.
pub fn differences(oracle: &PenaltiesOracle, descent: &Descent) -> Vec<f64> {
    let start = oracle.upper_start();
    let value = |x: &[f64]| {
        let x = Vector::from_slice(start.layout(), x, &start.device());
        let problem = LowerProblem::new(oracle, &x, Samples::default());
        let end = descent.run(&problem, &oracle.lower_start()).unwrap();
        problem.value(Objective::Upper, &end.state.y).read()
    };
    five_point(&start.to_vec(), value)
}

/// 5-point differences of `value` in each entry of `at`.
pub fn five_point(at: &[f64], value: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let h = 1e-3;
    let slope = |j: usize| {
        let moved = |steps: f64| {
            let mut x = at.to_vec();
            x[j] += steps * h;
            value(&x)
        };
        (8.0 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12.0 * h)
    };
    (0..at.len()).map(slope).collect()
}

/// The closed-form hypergradient of ridge regression at `X`:
/// `w = H^-1 A'b/n`, `H = A'A/n + diag(exp x)`, `H q = F_w`, `dF/dx_j = -exp(x_j) w_j q_j`.
pub fn ridge_closed_form() -> Vec<f64> {
    let (a, b) = points(Fit::Squares, Objective::Lower);
    let gram = |rows: &[Vec<f64>], i: usize, j: usize| {
        rows.iter().map(|r| r[i] * r[j]).sum::<f64>() / rows.len() as f64
    };
    let moment = |rows: &[Vec<f64>], t: &[f64], i: usize| {
        rows.iter().zip(t).map(|(r, t)| r[i] * t).sum::<f64>() / rows.len() as f64
    };
    let hessian: Vec<Vec<f64>> = (0..FEATURES)
        .map(|i| {
            (0..FEATURES).map(|j| gram(&a, i, j) + if i == j { X[i].exp() } else { 0.0 }).collect()
        })
        .collect();
    let w = eliminate(hessian.clone(), (0..FEATURES).map(|i| moment(&a, &b, i)).collect());
    let (c, d) = points(Fit::Squares, Objective::Upper);
    let slope = (0..FEATURES)
        .map(|i| (0..FEATURES).map(|j| gram(&c, i, j) * w[j]).sum::<f64>() - moment(&c, &d, i));
    let q = eliminate(hessian, slope.collect());
    (0..FEATURES).map(|j| -X[j].exp() * w[j] * q[j]).collect()
}

/// Gaussian elimination with pivoting.
pub fn eliminate(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap();
        a.swap(k, pivot);
        b.swap(k, pivot);
        let row = a[k].clone();
        for i in k + 1..n {
            let factor = a[i][k] / row[k];
            for (entry, above) in a[i].iter_mut().zip(&row) {
                *entry -= factor * above;
            }
            b[i] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        let rest: f64 = (k + 1..n).map(|j| a[k][j] * b[j]).sum();
        b[k] = (b[k] - rest) / a[k][k];
    }
    b
}

#[track_caller]
pub fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
    for (at, (f, e)) in found.iter().zip(expected).enumerate() {
        let error = (f - e).abs() / scale;
        assert!(
            error <= tolerance,
            "{what}, entry {at}: found {f:e}, expected {e:e}, off {error:e}"
        );
    }
}

type Named = (&'static str, Box<dyn HypergradientMethod>);

/// Every method that is exact where the lower level has converged. A new one is one line.
pub fn exact_methods() -> Vec<Named> {
    let gd = || descent(Gd::new(0.5), 600);
    let heavy = || descent(Momentum::new(0.3, 0.5), 600);
    let cg = || Cg::new(50, 1e-13).unwrap();
    vec![
        ("rad through gd", Box::new(Unrolled::rad(gd()))),
        ("rad through momentum", Box::new(Unrolled::rad(heavy()))),
        ("trad through gd", Box::new(Unrolled::trad(gd(), 400).unwrap())),
        ("fad through gd", Box::new(Fad::new(descent(Gd::new(0.8), 250)))),
        ("ia-gm through gd", Box::new(Unrolled::ia_gm(gd()))),
        ("cg after gd", Box::new(Implicit::new(gd(), cg()))),
        ("cg after momentum", Box::new(Implicit::new(heavy(), cg()))),
        ("cg after newton", Box::new(Implicit::new(Newton::new(50, 1e-12).unwrap(), cg()))),
        ("cg after armijo", Box::new(Implicit::new(Armijo::new(2000, 1e-11).unwrap(), cg()))),
        ("cg after fista", Box::new(Implicit::new(Fista::new(2000, 1e-11).unwrap(), cg()))),
        ("cg after lbfgs", Box::new(Implicit::new(Lbfgs::new(200, 1e-11).unwrap(), cg()))),
        ("normal-cg", Box::new(Implicit::new(gd(), NormalCg::new(50, 1e-12).unwrap()))),
        ("gmres", Box::new(Implicit::new(gd(), Gmres::new(50, 1e-13).unwrap()))),
        ("bicgstab", Box::new(Implicit::new(gd(), BiCgStab::new(50, 1e-12).unwrap()))),
        ("neumann", Box::new(Implicit::new(gd(), Neumann::new(0.5, 600, 1e-11).unwrap()))),
        ("approx-grad", Box::new(Implicit::new(gd(), ApproxGrad::gd(0.3, 2000, 1e-10).unwrap()))),
        ("dense", Box::new(Implicit::new(gd(), Dense::new()))),
        ("fixed-point of gd", Box::new(FixedPoint::new(gd(), 600, 1e-11).unwrap())),
        ("fixed-point of momentum", Box::new(FixedPoint::new(heavy(), 600, 1e-11).unwrap())),
        (
            "fixed-point after fista",
            Box::new(
                FixedPoint::minimised(
                    Fista::new(2000, 1e-11).unwrap(),
                    Gd::new(0.5).unwrap(),
                    600,
                    1e-11,
                )
                .unwrap(),
            ),
        ),
    ]
}
