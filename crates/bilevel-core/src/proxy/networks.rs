//! Two response networks.

use bilevel_program::Vector;
use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::ResponseNetwork;
use crate::Error;
use crate::error::at_least_one;
use crate::vector_ops::flatten;

/// `Psi(x) = y_0 + W x`.
///
/// The best response itself where f is quadratic in x and y together; elsewhere its tangent, for a local region.
#[derive(Module, Debug)]
pub struct LinearHypernetwork {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

/// `Psi(x) = y_0 + W tanh(A x + a)`.
#[derive(Module, Debug)]
pub struct MlpHypernetwork {
    inner_weight: Param<Tensor<2>>,
    inner_bias: Param<Tensor<1>>,
    outer: LinearHypernetwork,
}

impl LinearHypernetwork {
    /// For variables like `x` and `y`: `y_0 = y`, `W = 0`.
    pub fn new(x: &Vector, y: &Vector) -> Self {
        Self::from(x.layout().size(), y)
    }

    fn from(inputs: usize, y: &Vector) -> Self {
        let bias = flatten(y);
        let weight =
            Tensor::<2>::zeros([y.layout().size(), inputs], (&bias.device(), bias.dtype()));
        Self { weight: Param::from_tensor(weight), bias: Param::from_tensor(bias) }
    }
}

impl MlpHypernetwork {
    /// For variables like `x` and `y`, with `hidden` units: `y_0 = y`, `W = 0`, `a = 0`, the entries of A
    /// normal with the variance `1 / m`.
    ///
    /// # Errors
    /// If `hidden` is 0.
    pub fn new(x: &Vector, y: &Vector, hidden: usize, seed: u64) -> Result<Self, Error> {
        let hidden = at_least_one("hidden units", hidden)?;
        let m = x.layout().size();
        let outer = LinearHypernetwork::from(hidden, y);
        let (device, dtype) = (outer.bias.device(), outer.bias.dtype());
        let like = (&device, dtype);
        let draws = ChaCha8Rng::seed_from_u64(seed).sample_iter(StandardNormal).take(hidden * m);
        let draws: Vec<f64> = draws.map(|draw: f64| draw / (m as f64).sqrt()).collect();
        let weight = Tensor::<2>::from_data(TensorData::new(draws, [hidden, m]), like);
        let bias = Tensor::<1>::zeros([hidden], like);
        Ok(Self {
            inner_weight: Param::from_tensor(weight),
            inner_bias: Param::from_tensor(bias),
            outer,
        })
    }
}

fn affine(weight: &Param<Tensor<2>>, bias: &Param<Tensor<1>>, x: Tensor<1>) -> Tensor<1> {
    let weight = weight.val();
    let x = x.cast(weight.dtype());
    weight.matmul(x.unsqueeze_dim(1)).squeeze_dim::<1>(1) + bias.val()
}

impl ResponseNetwork for LinearHypernetwork {
    fn sizes(&self) -> [usize; 2] {
        let [n, m] = self.weight.dims();
        [m, n]
    }

    fn forward(&self, x: Tensor<1>) -> Tensor<1> {
        affine(&self.weight, &self.bias, x)
    }
}

impl ResponseNetwork for MlpHypernetwork {
    fn sizes(&self) -> [usize; 2] {
        [self.inner_weight.dims()[1], self.outer.sizes()[1]]
    }

    fn forward(&self, x: Tensor<1>) -> Tensor<1> {
        self.outer.forward(affine(&self.inner_weight, &self.inner_bias, x).tanh())
    }
}
