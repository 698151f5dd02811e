//! The two losses.

use bilevel_core::{Batch, BilevelProblem};
use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The function of a filter's response, which is summed over all pixels; see the [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Potential {
    /// The smoothed absolute value
    Abs,
    /// Its square root
    Root,
    /// The logarithm of Student's t
    Log,
}

/// x: the weights of filters and the filters.
#[derive(Module, Debug)]
pub struct Prior {
    /// a, `[filters]`
    weights: Param<Tensor<1>>,
    /// c, `[filters, basis]`
    coefficients: Param<Tensor<2>>,
    /// B, `[basis, side * side]`
    basis: Tensor<2>,
    #[module(skip)]
    side: usize,
}

impl Prior {
    /// The filters of the discrete cosine transform of patches of `side` x `side` pixels, without the constant one,
    /// each with the weight `weight`; the filters are variables only if `learned`.
    pub fn new(side: usize, weight: f64, learned: bool, device: &Device) -> Self {
        let count = side * side - 1;
        let wave = |frequency: usize, at: usize| {
            let scale = if frequency == 0 { 1.0 } else { 2.0 } / side as f64;
            let angle = frequency as f64 * (at as f64 + 0.5) / side as f64;
            scale.sqrt() * (std::f64::consts::PI * angle).cos()
        };
        let entry = |at: usize| {
            let (filter, pixel) = (at / (side * side) + 1, at % (side * side));
            wave(filter / side, pixel / side) * wave(filter % side, pixel % side)
        };
        let basis: Vec<f64> = (0..count * side * side).map(entry).collect();
        let weights = TensorData::new(vec![weight.ln(); count], [count]);
        let coefficients = Tensor::eye(count, device);
        Self {
            weights: Param::from_tensor(Tensor::from_data(weights, device)),
            coefficients: Param::from_tensor(coefficients).set_require_grad(learned),
            basis: Tensor::from_data(TensorData::new(basis, [count, side * side]), device),
            side,
        }
    }

    /// The filters, `[filters, 1, side, side]`.
    pub fn filters(&self) -> Tensor<4> {
        let filters = self.coefficients.val().matmul(self.basis.clone());
        filters.reshape([-1, 1, self.side as i32, self.side as i32])
    }

    /// exp(a), `[filters]`.
    pub fn weights(&self) -> Tensor<1> {
        self.weights.val().exp()
    }
}

/// y: what is added to noisy images, `[images, 1, height, width]`.
#[derive(Module, Debug)]
pub struct Correction {
    added: Param<Tensor<4>>,
}

impl Correction {
    /// Zero for images of this shape.
    pub fn none(shape: [usize; 4], device: &Device) -> Self {
        Self { added: Param::from_tensor(Tensor::zeros(shape, device)) }
    }

    /// What is added.
    pub fn added(&self) -> Tensor<4> {
        self.added.val()
    }
}

/// Images of one size, in units of the noise's standard deviation, `[images, 1, height, width]`.
#[derive(Clone, Debug, Batch)]
pub struct Images {
    /// v
    pub noisy: Tensor<4>,
    /// u
    pub clean: Tensor<4>,
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Denoising {
    /// phi
    pub potential: Potential,
    /// e, in units of the noise's standard deviation
    pub smoothing: f64,
    /// Pixels at each side that F ignores.
    pub border: usize,
}

impl Denoising {
    fn phi(&self, responses: Tensor<4>) -> Tensor<4> {
        let r = (responses / self.smoothing).powi_scalar(2) + 1.0;
        match self.potential {
            Potential::Abs => r.sqrt(),
            Potential::Root => r.sqrt().sqrt(),
            Potential::Log => r.log(),
        }
    }
}

impl BilevelProblem for Denoising {
    type Upper = Prior;
    type Lower = Correction;
    type Batch = Images;

    fn upper_loss(&self, _: &Prior, y: &Correction, images: &Images) -> Tensor<1> {
        let error = images.noisy.clone() + y.added() - images.clean.clone();
        let ([n, _, height, width], border) = (error.dims(), self.border);
        let inside = error.slice([0..n, 0..1, border..height - border, border..width - border]);
        inside.powi_scalar(2).mean()
    }

    fn lower_loss(&self, x: &Prior, y: &Correction, images: &Images) -> Tensor<1> {
        let added = y.added();
        let image = images.noisy.clone() + added.clone();
        let once = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let responses = conv2d(image, x.filters(), None, once);
        let filters = responses.dims()[1];
        let of_each = self.phi(responses).sum_dim(3).sum_dim(2).sum_dim(0).reshape([filters]);
        (x.weights() * of_each).sum() + added.powi_scalar(2).sum() * 0.5
    }
}
