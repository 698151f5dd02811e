//! The losses of the problems that are not in `bilevel-problems`.

use bilevel_core::{Batch, BilevelProblem};
use bilevel_models::{Mlp, cross_entropy};
use bilevel_problems::{LabelledRows, Values};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::settings::Penalties;

/// The mean cross-entropy of a network.
fn loss(network: &Mlp, rows: &LabelledRows) -> Tensor<1> {
    cross_entropy(network.forward(rows.inputs.clone()), rows.classes.clone()).mean()
}

/// `f = mean cross-entropy + 1/2 sum_j exp(x_j) norm(W_j)^2`, `F` the mean cross-entropy of the validation rows. `W_j`
/// are the weights that share a penalty: of a feature or of a class, in a network of one layer, or of a layer. Biases are
/// not penalised.
#[derive(Clone, Copy, Debug)]
pub struct Decay(pub Penalties);

impl BilevelProblem for Decay {
    type Upper = Values;
    type Lower = Mlp;
    type Batch = LabelledRows;

    fn upper_loss(&self, _: &Values, y: &Mlp, validation: &LabelledRows) -> Tensor<1> {
        loss(y, validation)
    }

    fn lower_loss(&self, x: &Values, y: &Mlp, training: &LabelledRows) -> Tensor<1> {
        let squares = y.layers().iter().map(|layer| {
            let squares = layer.weight.val().powi_scalar(2);
            match self.0 {
                Penalties::Feature => squares.sum_dim(1).flatten(0, 1),
                Penalties::Class => squares.sum_dim(0).flatten(0, 1),
                Penalties::Layer => squares.sum(),
            }
        });
        let squares = Tensor::cat(squares.collect(), 0);
        loss(y, training) + (x.val().exp() * squares).sum() * 0.5
    }
}

/// How a network is trained: u gives the step size `exp(u)`, v the momentum `1 / (1 + exp(-v))`.
#[derive(Module, Debug)]
pub struct Rates {
    /// u, `[1]`
    pub step_size: Param<Tensor<1>>,
    /// v, `[1]`
    pub momentum: Param<Tensor<1>>,
}

impl Rates {
    /// With these values.
    pub fn new(step_size: f64, momentum: f64, device: &Device) -> Self {
        let param =
            |value| Param::from_tensor(Tensor::from_data(TensorData::from([value]), device));
        Self { step_size: param(step_size), momentum: param(momentum) }
    }
}

/// Both losses are the mean cross-entropy, of training and validation rows: x enters only through the steps of y.
#[derive(Clone, Copy, Debug)]
pub struct Training;

impl BilevelProblem for Training {
    type Upper = Rates;
    type Lower = Mlp;
    type Batch = LabelledRows;

    fn upper_loss(&self, _: &Rates, y: &Mlp, validation: &LabelledRows) -> Tensor<1> {
        loss(y, validation)
    }

    fn lower_loss(&self, _: &Rates, y: &Mlp, training: &LabelledRows) -> Tensor<1> {
        loss(y, training)
    }
}

/// Rows with one number each.
#[derive(Clone, Debug, Batch)]
pub struct Measurements {
    /// `[n, p]`
    pub inputs: Tensor<2>,
    /// `[n]`
    pub targets: Tensor<1>,
}

/// One penalty per feature of a linear regression:
/// `f = mean_i (a_i.w - b_i)^2 / 2 + 1/2 sum_j exp(x_j) w_j^2`, F without the penalties on the validation rows.
///
/// Its lower solution is `(A'A / n + diag(exp x))^-1 A'b / n`.
#[derive(Clone, Copy, Debug)]
pub struct Ridge;

fn squares(w: &Values, rows: &Measurements) -> Tensor<1> {
    let fitted = rows.inputs.clone().matmul(w.val().unsqueeze_dim(1)).squeeze_dim(1);
    (fitted - rows.targets.clone()).powi_scalar(2).mean() * 0.5
}

impl BilevelProblem for Ridge {
    type Upper = Values;
    type Lower = Values;
    type Batch = Measurements;

    fn upper_loss(&self, _: &Values, w: &Values, validation: &Measurements) -> Tensor<1> {
        squares(w, validation)
    }

    fn lower_loss(&self, x: &Values, w: &Values, training: &Measurements) -> Tensor<1> {
        squares(w, training) + (x.val().exp() * w.val().powi_scalar(2)).sum() * 0.5
    }
}
