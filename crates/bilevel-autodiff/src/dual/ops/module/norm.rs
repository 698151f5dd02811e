//! The tangent rules of normalisations.

use burn::backend::ops::{BatchNormTrain, BatchNormTrainBackward};
use burn::backend::tensor::FloatTensor as T;
use burn::backend::{Backend, Shape, TensorMetadata};

use super::rules::{broadcast, split};
use crate::dual::tensor::sum;
use crate::dual::{Dual, DualTensor};

/// `y = γ·n + β` with `n = (x - mean x)/s`, `s² = var x + ε`, over the last axis.
pub(super) fn layer_norm<B: Backend>(
    x: DualTensor<B>,
    gamma: DualTensor<B>,
    beta: Option<DualTensor<B>>,
    epsilon: f64,
) -> DualTensor<B> {
    let (beta, dbeta) = split(beta);
    let primal = B::layer_norm(x.primal.clone(), gamma.primal.clone(), beta, epsilon);
    let last = primal.rank() - 1;
    let moved = if x.tangent.is_some() || gamma.tangent.is_some() {
        Standard::new(x.primal, epsilon, last, |x| B::float_mean_dim(x, last))
            .scaled(x.tangent, gamma)
    } else {
        None
    };
    let shift = dbeta.map(|db| broadcast::<B>(db, primal.shape(), last));
    DualTensor { primal, tangent: sum::<B>(shift, moved) }
}

/// The same over all axes except the channels, with the mean and the variance. Their values and that of `y`
/// are those of `B`; `Autodiff` returns the statistics as constants, so the tangents are computed from `x`.
pub(super) fn batch_norm_train<B: Backend>(
    x: DualTensor<B>,
    gamma: DualTensor<B>,
    beta: DualTensor<B>,
    epsilon: f64,
) -> BatchNormTrain<Dual<B>> {
    let y = B::batch_norm_train(x.primal.clone(), gamma.primal.clone(), beta.primal, epsilon);
    let shape = y.output.shape();
    let (mut dmean, mut dvariance, mut moved) = (None, None, None);
    if x.tangent.is_some() || gamma.tangent.is_some() {
        let standard = Standard::new(x.primal, epsilon, 1, channel_means::<B>);
        if let Some(dx) = x.tangent.clone() {
            let (mean, variance) = standard.moments(dx);
            dmean = Some(B::float_reshape(mean, y.mean.shape()));
            dvariance = Some(B::float_reshape(variance, y.variance.shape()));
        }
        moved = standard.scaled(x.tangent, gamma);
    }
    let shift = beta.tangent.map(|db| broadcast::<B>(db, shape, 1));
    BatchNormTrain::new(
        DualTensor { primal: y.output, tangent: sum::<B>(shift, moved) },
        DualTensor { primal: y.mean, tangent: dmean },
        DualTensor { primal: y.variance, tangent: dvariance },
    )
}

/// `y = γ·n + β` with `n = (x - μ)/s`, `s² = v + ε` for a given `μ` and `v` per channel: `γ·dn + dγ·n + dβ`
/// with `dn = (dx - dμ - n·dv/(2s))/s`.
pub(super) fn batch_norm<B: Backend>(
    x: DualTensor<B>,
    gamma: DualTensor<B>,
    beta: DualTensor<B>,
    mean: DualTensor<B>,
    variance: DualTensor<B>,
    epsilon: f64,
) -> DualTensor<B> {
    let primal = B::batch_norm(
        x.primal.clone(),
        gamma.primal.clone(),
        beta.primal,
        mean.primal.clone(),
        variance.primal.clone(),
        epsilon,
    );
    let shape = primal.shape();
    let spread = |v| broadcast::<B>(v, shape.clone(), 1);
    let s = deviation::<B>(spread(variance.primal), epsilon);
    let n = || B::float_div(B::float_sub(x.primal.clone(), spread(mean.primal.clone())), s.clone());

    let shift = sum::<B>(x.tangent.clone(), mean.tangent.map(|dm| B::float_neg(spread(dm))));
    let widen = variance.tangent.map(|dv| {
        let twice = B::float_mul_scalar(s.clone(), (-2).into());
        B::float_div(B::float_mul(n(), spread(dv)), twice)
    });
    let along_n = sum::<B>(shift, widen)
        .map(|change| B::float_mul(B::float_div(spread(gamma.primal), s.clone()), change));
    let along_gamma = gamma.tangent.map(|dg| B::float_mul(spread(dg), n()));
    let along_beta = beta.tangent.map(spread);
    let tangent = sum::<B>(sum::<B>(along_n, along_gamma), along_beta);
    DualTensor { primal, tangent }
}

/// The backward pass of [`batch_norm_train`] in `Autodiff`. The value is that of `B`, the tangent that of
/// Burn's formula on dual numbers.
pub(super) fn batch_norm_train_backward<B: Backend>(
    x: DualTensor<B>,
    gamma: DualTensor<B>,
    mean: DualTensor<B>,
    variance: DualTensor<B>,
    epsilon: f64,
    grad: DualTensor<B>,
) -> BatchNormTrainBackward<Dual<B>> {
    let value = B::batch_norm_train_backward(
        x.primal.clone(),
        gamma.primal.clone(),
        mean.primal.clone(),
        variance.primal.clone(),
        epsilon,
        grad.primal.clone(),
    );
    let moves = [&x, &gamma, &mean, &variance, &grad].into_iter().any(|x| x.tangent.is_some());
    let [dx, dgamma, dbeta] = if moves {
        gradients::<Dual<B>>(x, gamma, mean, variance, epsilon, grad).map(|x| x.tangent)
    } else {
        [None, None, None]
    };
    BatchNormTrainBackward::new(
        DualTensor { primal: value.x_grad, tangent: dx },
        DualTensor { primal: value.gamma_grad, tangent: dgamma },
        DualTensor { primal: value.beta_grad, tangent: dbeta },
    )
}

/// The gradients of `<g, γ·n + β>` in `x`, `γ` and `β`: `γ/s·(g - mean g - n·mean(g·n))`, the sums of `g·n`
/// and those of `g`.
fn gradients<B: Backend>(
    x: T<B>,
    gamma: T<B>,
    mean: T<B>,
    variance: T<B>,
    epsilon: f64,
    grad: T<B>,
) -> [T<B>; 3] {
    let channels = gamma.shape();
    let mut column = vec![1; x.rank()];
    column[1] = channels[0];
    let column = |v| B::float_reshape(v, Shape::from(column.clone()));
    let count = (x.shape().num_elements() / channels[0]) as f64;
    let means = |sums: T<B>| B::float_mul_scalar(sums, count.recip().into());

    let s = deviation::<B>(column(variance), epsilon);
    let n = B::float_div(B::float_sub(x, column(mean)), s.clone());
    let sum_g = channel_sums::<B>(grad.clone());
    let sum_gn = channel_sums::<B>(B::float_mul(grad.clone(), n.clone()));
    let change = B::float_sub(grad, means(sum_g.clone()));
    let change = B::float_sub(change, B::float_mul(n, means(sum_gn.clone())));
    let along_x = B::float_mul(B::float_div(column(gamma), s), change);
    [along_x, B::float_reshape(sum_gn, channels.clone()), B::float_reshape(sum_g, channels)]
}

/// A standardised tensor, `n = (x - mean x)/s` with `s² = var x + ε`.
struct Standard<B: Backend, M> {
    n: T<B>,
    s: T<B>,
    /// The axis of scale and shift.
    axis: usize,
    /// The means over the normalised axes, each kept with length 1.
    mean: M,
}

impl<B: Backend, M: Fn(T<B>) -> T<B>> Standard<B, M> {
    fn new(x: T<B>, epsilon: f64, axis: usize, mean: M) -> Self {
        let centred = B::float_sub(x.clone(), mean(x));
        let variance = mean(B::float_mul(centred.clone(), centred.clone()));
        let s = deviation::<B>(variance, epsilon);
        Self { n: B::float_div(centred, s.clone()), s, axis, mean }
    }

    /// The tangents of mean and variance: `mean dx` and `2 mean((x - mean x)·dx)`.
    fn moments(&self, dx: T<B>) -> (T<B>, T<B>) {
        let product = (self.mean)(B::float_mul(self.n.clone(), dx.clone()));
        let variance = B::float_mul(B::float_mul_scalar(self.s.clone(), 2.into()), product);
        ((self.mean)(dx), variance)
    }

    /// The tangent of `γ·n`: `γ·dn + dγ·n` with `dn = (c - n·mean(n·c))/s`, `c = dx - mean dx`.
    fn scaled(self, dx: Option<T<B>>, gamma: DualTensor<B>) -> Option<T<B>> {
        let Self { n, s, axis, mean } = self;
        let spread = |v| broadcast::<B>(v, n.shape(), axis);
        let along_x = dx.map(|dx| {
            let c = B::float_sub(dx.clone(), mean(dx));
            let product = mean(B::float_mul(n.clone(), c.clone()));
            let dn = B::float_div(B::float_sub(c, B::float_mul(n.clone(), product)), s);
            B::float_mul(spread(gamma.primal), dn)
        });
        let along_gamma = gamma.tangent.map(|dgamma| B::float_mul(spread(dgamma), n.clone()));
        sum::<B>(along_x, along_gamma)
    }
}

/// `sqrt(variance + ε)`.
fn deviation<B: Backend>(variance: T<B>, epsilon: f64) -> T<B> {
    B::float_sqrt(B::float_add_scalar(variance, epsilon.into()))
}

/// The sums over all axes except the channels, each kept with length 1.
fn channel_sums<B: Backend>(x: T<B>) -> T<B> {
    let axes: Vec<_> = (0..x.rank()).filter(|&axis| axis != 1).collect();
    B::float_sum_dims(x, &axes)
}

fn channel_means<B: Backend>(x: T<B>) -> T<B> {
    let shape = x.shape();
    let count = (shape.num_elements() / shape[1]) as f64;
    B::float_mul_scalar(channel_sums::<B>(x), count.recip().into())
}
