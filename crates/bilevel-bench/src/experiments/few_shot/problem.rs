//! The problems: features under a head, and a network that starts at x.

use bilevel_core::BilevelProblem;
use bilevel_data::loader::ImageBatch;
use bilevel_models::{ImageClassifier, Warps, cross_entropy};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Int, Tensor};

/// x of a representation: the network up to its features, and a head.
#[derive(Module, Debug)]
pub struct Extractor {
    /// The network; its own last layer is not used.
    pub body: ImageClassifier,
    /// Where the lower level may start.
    pub head: Linear,
    /// The norm to which features are scaled; 0 leaves them unscaled.
    pub norm: f64,
}

impl Extractor {
    /// The features of images, `[n, features]`.
    ///
    /// Scaled to a norm c they bound the curvature of the lower loss by `c^2 / 2`, whatever x: with step sizes below
    /// `4 / c^2` no x makes the lower level unstable.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let features = self.body.features(images);
        if self.norm == 0.0 {
            return features;
        }
        let squares = features.clone().powi_scalar(2).sum_dim(1);
        features * (squares + 1e-6).sqrt().recip() * self.norm
    }
}

/// What the losses depend on besides y: the features of the images of one task, `[n, features]`.
#[derive(Module, Debug)]
pub struct Features {
    /// Of the training images.
    pub support: Param<Tensor<2>>,
    /// Of the test images.
    pub query: Param<Tensor<2>>,
    /// Where the lower level may start.
    pub head: Linear,
}

/// How F classifies from features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// By the head y.
    Head,
    /// By the nearest class mean: `l` is the cross-entropy of the logits `-norm(u - c_j)^2`, c_j the mean of the
    /// training features of class j. Source: J. Snell et al., "Prototypical networks for few-shot learning", 2017.
    NearestMean {
        /// Classes of a task.
        way: usize,
    },
}

impl Judge {
    /// The logits of the test features.
    pub fn logits(self, support: Tensor<2>, query: Tensor<2>, y: &Linear) -> Tensor<2> {
        let Self::NearestMean { way } = self else { return y.forward(query) };
        let [images, features] = support.dims();
        let means =
            support.reshape([way, images / way, features]).mean_dim(1).reshape([way, features]);
        let squares = |rows: Tensor<2>| rows.powi_scalar(2).sum_dim(1);
        let products = query.clone().matmul(means.clone().transpose());
        products * 2.0 - squares(means).transpose() - squares(query)
    }
}

/// The losses of a head on features.
///
/// ```text
/// f(u, y) = mean l(y; u_support) + w (norm(y)^2 + 1e-6)^(q/2),   F(u, y) = mean l(y; u_query)
/// ```
///
/// with l the cross-entropy.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// What F is made of.
    pub judge: Judge,
    /// w
    pub regularisation: f64,
    /// q
    pub exponent: f64,
}

impl Heads {
    fn norm(&self, y: &Linear) -> Option<Tensor<1>> {
        if self.regularisation == 0.0 {
            return None;
        }
        let of_bias = y.bias.as_ref().map(|bias| bias.val().powi_scalar(2).sum());
        let squares = y.weight.val().powi_scalar(2).sum();
        let squares = of_bias.into_iter().fold(squares, |sum, more| sum + more);
        Some((squares + 1e-6).powf_scalar(self.exponent / 2.0) * self.regularisation)
    }

    fn lower(&self, y: &Linear, features: Tensor<2>, labels: &Tensor<1, Int>) -> Tensor<1> {
        let loss = cross_entropy(y.forward(features), labels.clone()).mean();
        self.norm(y).into_iter().fold(loss, |sum, more| sum + more)
    }
}

impl BilevelProblem for Heads {
    type Upper = Features;
    type Lower = Linear;
    type Batch = Tensor<1, Int>;

    fn upper_loss(&self, u: &Features, y: &Linear, labels: &Tensor<1, Int>) -> Tensor<1> {
        let logits = self.judge.logits(u.support.val(), u.query.val(), y);
        cross_entropy(logits, labels.clone()).mean()
    }

    fn lower_loss(&self, u: &Features, y: &Linear, labels: &Tensor<1, Int>) -> Tensor<1> {
        self.lower(y, u.support.val(), labels)
    }
}

/// The same for images, the features being those of x.
#[derive(Clone, Copy, Debug)]
pub struct Representation(pub Heads);

impl BilevelProblem for Representation {
    type Upper = Extractor;
    type Lower = Linear;
    type Batch = ImageBatch;

    fn upper_loss(&self, x: &Extractor, y: &Linear, query: &ImageBatch) -> Tensor<1> {
        let features = x.features(query.images.clone());
        cross_entropy(y.forward(features), query.labels.clone()).mean()
    }

    fn lower_loss(&self, x: &Extractor, y: &Linear, support: &ImageBatch) -> Tensor<1> {
        self.0.lower(y, x.features(support.images.clone()), &support.labels)
    }
}

/// x of an initialisation: the start of the network, and what else of the lower steps is learned, each as a list that
/// is empty if it is not learned.
#[derive(Module, Debug)]
pub struct Meta {
    /// The network.
    pub initial: ImageClassifier,
    /// A step size for each weight, as a network of the same shapes.
    pub rates: Vec<ImageClassifier>,
    /// The factors of a linear map of gradients.
    pub factors: Vec<Param<Tensor<2>>>,
    /// Layers that the lower steps do not change.
    pub warps: Vec<Warps>,
}

impl Meta {
    /// The logits of a network y between the layers of x.
    pub fn logits(&self, y: &ImageClassifier, images: Tensor<4>) -> Tensor<2> {
        match (y, self.warps.first()) {
            (ImageClassifier::ConvNet(network), Some(warps)) => {
                network.forward_warped(images, warps)
            }
            _ => y.forward(images),
        }
    }
}

/// A network y that starts at x: both losses are its mean cross-entropy.
#[derive(Clone, Copy, Debug)]
pub struct Adaptation;

impl BilevelProblem for Adaptation {
    type Upper = Meta;
    type Lower = ImageClassifier;
    type Batch = ImageBatch;

    fn upper_loss(&self, x: &Meta, y: &ImageClassifier, images: &ImageBatch) -> Tensor<1> {
        cross_entropy(x.logits(y, images.images.clone()), images.labels.clone()).mean()
    }

    fn lower_loss(&self, x: &Meta, y: &ImageClassifier, images: &ImageBatch) -> Tensor<1> {
        self.upper_loss(x, y, images)
    }
}
