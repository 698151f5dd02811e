//! The losses of the problems that are not in `bilevel-problems`.

use bilevel_core::BilevelProblem;
use bilevel_models::{Mlp, cross_entropy};
use bilevel_problems::{LabelledRows, Values};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// The mean cross-entropy of a network.
fn loss<B: Backend>(network: &Mlp<B>, rows: &LabelledRows<B>) -> Tensor<B, 1> {
    cross_entropy(network.forward(rows.inputs.clone()), rows.classes.clone()).mean()
}

/// One weight decay a layer: `f = mean cross-entropy + 1/2 sum_l exp(x_l) norm(W_l)^2`, `F` the mean cross-entropy of
/// the validation rows. Biases are free.
#[derive(Clone, Copy, Debug)]
pub struct LayerDecay;

impl<B: Backend> BilevelProblem<B> for LayerDecay {
    type Upper = Values<B>;
    type Lower = Mlp<B>;
    type Batch = LabelledRows<B>;

    fn upper_loss(&self, _: &Values<B>, y: &Mlp<B>, validation: &LabelledRows<B>) -> Tensor<B, 1> {
        loss(y, validation)
    }

    fn lower_loss(&self, x: &Values<B>, y: &Mlp<B>, training: &LabelledRows<B>) -> Tensor<B, 1> {
        let squares = y.layers().iter().map(|layer| layer.weight.val().powi_scalar(2).sum());
        let squares = Tensor::cat(squares.collect(), 0);
        loss(y, training) + (x.val().exp() * squares).sum() * 0.5
    }
}

/// How a network is trained: `u` with the step size `exp(u)`, `v` with the momentum `1 / (1 + exp(-v))`.
#[derive(Module, Debug)]
pub struct Rates<B: Backend> {
    /// u, `[1]`
    pub step_size: Param<Tensor<B, 1>>,
    /// v, `[1]`
    pub momentum: Param<Tensor<B, 1>>,
}

impl<B: Backend> Rates<B> {
    /// With these values.
    pub fn new(step_size: f64, momentum: f64, device: &B::Device) -> Self {
        let param =
            |value| Param::from_tensor(Tensor::from_data(TensorData::from([value]), device));
        Self { step_size: param(step_size), momentum: param(momentum) }
    }
}

/// Both losses the mean cross-entropy, of training and validation rows: x enters by the steps of y alone.
#[derive(Clone, Copy, Debug)]
pub struct Training;

impl<B: Backend> BilevelProblem<B> for Training {
    type Upper = Rates<B>;
    type Lower = Mlp<B>;
    type Batch = LabelledRows<B>;

    fn upper_loss(&self, _: &Rates<B>, y: &Mlp<B>, validation: &LabelledRows<B>) -> Tensor<B, 1> {
        loss(y, validation)
    }

    fn lower_loss(&self, _: &Rates<B>, y: &Mlp<B>, training: &LabelledRows<B>) -> Tensor<B, 1> {
        loss(y, training)
    }
}

/// Rows with a number each.
#[derive(Module, Debug)]
pub struct Measurements<B: Backend> {
    /// `[n, p]`
    pub inputs: Tensor<B, 2>,
    /// `[n]`
    pub targets: Tensor<B, 1>,
}

/// One penalty a feature of a linear regression:
/// `f = mean_i (a_i.w - b_i)^2 / 2 + 1/2 sum_j exp(x_j) w_j^2`, F without the penalties on the validation rows.
///
/// Its lower solution is `(A'A / n + diag(exp x))^-1 A'b / n`.
#[derive(Clone, Copy, Debug)]
pub struct Ridge;

fn squares<B: Backend>(w: &Values<B>, rows: &Measurements<B>) -> Tensor<B, 1> {
    let fitted = rows.inputs.clone().matmul(w.val().unsqueeze_dim(1)).squeeze_dim(1);
    (fitted - rows.targets.clone()).powi_scalar(2).mean() * 0.5
}

impl<B: Backend> BilevelProblem<B> for Ridge {
    type Upper = Values<B>;
    type Lower = Values<B>;
    type Batch = Measurements<B>;

    fn upper_loss(
        &self,
        _: &Values<B>,
        w: &Values<B>,
        validation: &Measurements<B>,
    ) -> Tensor<B, 1> {
        squares(w, validation)
    }

    fn lower_loss(&self, x: &Values<B>, w: &Values<B>, training: &Measurements<B>) -> Tensor<B, 1> {
        squares(w, training) + (x.val().exp() * w.val().powi_scalar(2)).sum() * 0.5
    }
}
