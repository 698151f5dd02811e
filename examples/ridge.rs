//! Ridge regression with one penalty per feature: hypergradients by `rad` and by `cg` against the closed
//! form.
//!
//! `cargo run --release -p bilevel-examples --example ridge`

use bilevel::*;
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, FloatDType, Tensor};

struct Ridge;

/// Each row holds two features and a target.
fn half_squares(w: &Linear, rows: &Tensor<2>) -> Tensor<1> {
    let (features, targets) = (rows.clone().narrow(1, 0, 2), rows.clone().narrow(1, 2, 1));
    (w.forward(features) - targets).powi_scalar(2).sum() / 2
}

impl BilevelProblem for Ridge {
    type Upper = Param<Tensor<1>>; // the logarithm of the penalty of each feature
    type Lower = Linear;
    type Batch = Tensor<2>;

    fn upper_loss(&self, _: &Self::Upper, w: &Linear, rows: &Tensor<2>) -> Tensor<1> {
        half_squares(w, rows)
    }

    fn lower_loss(&self, x: &Self::Upper, w: &Linear, rows: &Tensor<2>) -> Tensor<1> {
        let penalties = x.val().exp().unsqueeze_dim(1);
        half_squares(w, rows) + (penalties * w.weight.val().powi_scalar(2)).sum() / 2
    }
}

const X: [f64; 2] = [-1.0, 0.5];
const TRAIN: [[f64; 3]; 3] = [[1.0, 0.2, 1.2], [-0.4, 1.1, 0.1], [0.3, -0.8, 0.4]];
const VALIDATION: [[f64; 3]; 2] = [[0.7, -0.5, 0.9], [0.9, 0.6, 0.5]];

/// Returns the hypergradients by `rad`, by `cg` and in closed form.
pub fn run() -> Result<[Vec<f64>; 3], Error> {
    let mut device = Device::flex();
    device.configure(FloatDType::F64).expect("nothing has been computed on flex before");
    let x = Param::from_data(X, &device);
    let w = LinearConfig::new(2, 1).with_bias(false).init(&device);
    let data = FullBatch {
        upper: Tensor::from_data(VALIDATION, &device),
        lower: Tensor::from_data(TRAIN, &device),
    };
    let oracle = AutodiffOracle::new(Ridge, &x, &w, data)?;

    let descent = || Descent::new(Gd::new(0.3)?, 200);
    let hypergradient = |mut method: Box<dyn HypergradientMethod>| {
        let (x, w) = (oracle.upper_start(), oracle.lower_start());
        let found = method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &w)?;
        println!("{:?} by {}", found.gradient.to_vec(), method.describe());
        Ok::<_, Error>(found.gradient.to_vec())
    };
    let rad = hypergradient(Box::new(Unrolled::rad(descent()?)))?;
    let cg = hypergradient(Box::new(Implicit::new(descent()?, Cg::new(10, 1e-12)?)))?;
    println!("{:?} in closed form", closed_form());
    Ok([rad, cg, closed_form()])
}

/// `H = A'A + diag(exp x)`, `H w = A'b`, `H q = C'(C w - d)`, `dF/dx = -exp(x) w q`.
fn closed_form() -> Vec<f64> {
    let train = |i, j| TRAIN.iter().map(|row| row[i] * row[j]).sum::<f64>();
    let validation = |i, j| VALIDATION.iter().map(|row| row[i] * row[j]).sum::<f64>();
    let (a, b, c) = (train(0, 0) + X[0].exp(), train(0, 1), train(1, 1) + X[1].exp());
    let solve = |[r, s]: [f64; 2]| [c * r - b * s, a * s - b * r].map(|v| v / (a * c - b * b));
    let w = solve([train(0, 2), train(1, 2)]);
    let slope = |i| validation(i, 0) * w[0] + validation(i, 1) * w[1] - validation(i, 2);
    let q = solve([slope(0), slope(1)]);
    (0..2).map(|j| -X[j].exp() * w[j] * q[j]).collect()
}

fn main() -> Result<(), Error> {
    run().map(drop)
}
