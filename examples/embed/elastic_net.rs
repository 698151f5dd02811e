//! The elastic net with learned weights: which are best for other data, compared with the closed form of an orthogonal
//! design.

use bilevel::*;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub struct Weights {
    lasso: Param<Tensor<1>>,
    ridge: Param<Tensor<1>>,
}

pub struct Denoise;

impl BilevelProblem for Denoise {
    type Upper = Weights; // logarithms of the weights of |y| and of y^2 / 2
    type Lower = Param<Tensor<1>>;
    type Batch = Tensor<1>; // the smooth part is norm(y - b)^2 / 2

    fn upper_loss(&self, _: &Weights, y: &Self::Lower, b: &Tensor<1>) -> Tensor<1> {
        (y.val() - b.clone()).powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, _: &Weights, y: &Self::Lower, b: &Tensor<1>) -> Tensor<1> {
        (y.val() - b.clone()).powi_scalar(2).sum() / 2
    }
}

const B: [f64; 5] = [2.0, -1.5, 0.2, 0.9, -0.3];
const C: [f64; 5] = [1.2, -0.7, 0.1, 0.2, 0.1];
const X: [f64; 2] = [-1.2, -0.5];

/// Hypergradients by `rad` and `fixed-point`, and in closed form.
pub fn run(device: &Device) -> Result<[Vec<f64>; 3], Error> {
    let parameter = |value: f64| Param::from_tensor(Tensor::from_data([value], device));
    let x = Weights { lasso: parameter(X[0]), ridge: parameter(X[1]) };
    let y = Param::from_tensor(Tensor::zeros([5], device));
    let data =
        FullBatch { upper: Tensor::from_data(C, device), lower: Tensor::from_data(B, device) };
    let oracle = AutodiffOracle::new(Denoise, &x, &y, data)?;
    let steps = || {
        let net = ElasticNet::new(Coefficient::exp("lasso"), Coefficient::exp("ridge"))?;
        Descent::new(Projected::new(Gd::new(0.5)?, net.times(0.5)?), 100)
    };
    let gradient = |mut method: Box<dyn HypergradientMethod>| {
        let (x, y) = (oracle.upper_start(), oracle.lower_start());
        let problem = LowerProblem::new(&oracle, &x, Samples::default());
        Ok::<_, Error>(method.hypergradient(problem, &y)?.gradient.to_vec())
    };
    let rad = gradient(Box::new(Unrolled::rad(steps()?)))?;
    let fixed_point = gradient(Box::new(FixedPoint::new(steps()?, 200, 1e-12)?))?;
    Ok([rad, fixed_point, closed_form()])
}

/// `y_i = sign(b_i) max(|b_i| - a, 0) / (1 + r)`, and its derivatives in the logarithms of a and r.
fn closed_form() -> Vec<f64> {
    let [a, r] = X.map(f64::exp);
    let mut gradient = vec![0.0; 2];
    for (b, c) in B.into_iter().zip(C) {
        let y = b.signum() * (b.abs() - a).max(0.0) / (1.0 + r);
        if y != 0.0 {
            gradient[0] -= (y - c) * b.signum() / (1.0 + r) * a;
            gradient[1] -= (y - c) * y / (1.0 + r) * r;
        }
    }
    gradient
}
