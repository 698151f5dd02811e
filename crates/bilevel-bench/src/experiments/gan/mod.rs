//! Adversarial learning: a generator x whose samples a discriminator y cannot tell from data.
//!
//! ```text
//! f(x, y) = mean softplus(-D_y(data)) + mean softplus(D_y(G_x(noise)))
//! F(x, y) = mean softplus(-D_y(G_x(noise)))   with --game non-saturating
//! F(x, y) = -f(x, y)                          with --game min-max
//! ```
//!
//! with D the logit of a sample being real; new data and noise at each upper step. The discriminator continues from
//! its last value, by T steps or, with `--kept-steps`, by the first of them: the others then look ahead. `first-order`
//! is how such networks are usually trained: the generator treats the discriminator as fixed. Unrolled methods (`rad`)
//! differentiate its response. With `--dynamics adam` the discriminator has an optimiser like that of the generator.
//!
//! | `--data` | data | a sample is good | a mode |
//! |---|---|---|---|
//! | `ring` | eight Gaussians of deviation 0.02 on a circle of radius 2 | within 0.06 of a centre | a Gaussian |
//! | `digits` | the embedded digits, or the images of `--data-dir` | a classifier is 90 % sure of its class | a class |
//!
//! A mode is covered if at least 1 % of the samples are good samples of it. The distance is the maximum mean
//! discrepancy between samples and data, with a Gaussian kernel whose width is the median distance within the data.
//!
//! The baseline `data` is the result for other samples of the data.
//!
//! Sources: survey, Eqs. 5-7; L. Metz et al., ["Unrolled generative adversarial
//! networks"](https://arxiv.org/abs/1611.02163), 2017, section 3.1: networks, batch and data of the ring.

mod data;
mod look;
mod problem;
mod run;
mod settings;

pub use problem::{Adversarial, Draw};
pub use run::Prepared;
pub use settings::{Game, Reference, Settings, Source};
