//! An equilibrium layer: `z = tanh(W z + U s + b)`, trained through its fixed point, compared with the implicit
//! function theorem on plain numbers.

use bilevel::*;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub struct Layer {
    weight: Param<Tensor<2>>, // W
    input: Param<Tensor<1>>,  // U s + b
}

/// The layer's output is the z whose distance from its image is 0.
pub struct Equilibrium;

impl BilevelProblem for Equilibrium {
    type Upper = Layer;
    type Lower = Param<Tensor<1>>;
    type Batch = Tensor<1>; // the target of z

    fn upper_loss(&self, _: &Layer, z: &Self::Lower, target: &Tensor<1>) -> Tensor<1> {
        (z.val() - target.clone()).powi_scalar(2).sum() / 2
    }

    fn lower_loss(&self, layer: &Layer, z: &Self::Lower, _: &Tensor<1>) -> Tensor<1> {
        let turned = layer.weight.val().matmul(z.val().unsqueeze_dim(1)).squeeze_dim::<1>(1);
        (z.val() - (turned + layer.input.val()).tanh()).powi_scalar(2).sum() / 2
    }
}

const W: [[f64; 2]; 2] = [[0.5, -0.3], [0.2, 0.4]];
const U: [f64; 2] = [0.3, -0.6];
const TARGET: [f64; 2] = [0.1, 0.2];

/// dF in W and in the input, by `cg` and by hand.
pub fn run(device: &Device) -> Result<[Vec<f64>; 2], Error> {
    let layer = Layer {
        weight: Param::from_tensor(Tensor::from_data(W, device)),
        input: Param::from_tensor(Tensor::from_data(U, device)),
    };
    let z = Param::from_tensor(Tensor::<1>::zeros([2], device));
    let target = Tensor::<1>::from_data(TARGET, device);
    let data = FullBatch { upper: target.clone(), lower: target };
    let oracle = AutodiffOracle::new(Equilibrium, &layer, &z, data)?;
    let (x, y) = (oracle.upper_start(), oracle.lower_start());
    let descent = Descent::new(Nesterov::new(0.5)?, 400)?;
    let mut method = Implicit::new(descent, Cg::new(20, 1e-13)?);
    let found = method.hypergradient(LowerProblem::new(&oracle, &x, Samples::default()), &y)?;
    Ok([found.gradient.to_vec(), by_hand()])
}

/// `(I - D W)' v = z - target` with `D = diag(1 - z^2)`; `dF/dW = (D v) z'`, `dF/d input = D v`.
fn by_hand() -> Vec<f64> {
    let mut z = [0.0_f64; 2];
    for _ in 0..500 {
        z = [0, 1].map(|i| (W[i][0] * z[0] + W[i][1] * z[1] + U[i]).tanh());
    }
    let d = z.map(|z| 1.0 - z * z);
    let j = |i: usize, k: usize| f64::from(u8::from(i == k)) - d[i] * W[i][k];
    let r = [z[0] - TARGET[0], z[1] - TARGET[1]];
    let det = j(0, 0) * j(1, 1) - j(0, 1) * j(1, 0);
    let v = [(j(1, 1) * r[0] - j(1, 0) * r[1]) / det, (j(0, 0) * r[1] - j(0, 1) * r[0]) / det];
    let dv = [d[0] * v[0], d[1] * v[1]];
    vec![dv[0] * z[0], dv[0] * z[1], dv[1] * z[0], dv[1] * z[1], dv[0], dv[1]]
}
