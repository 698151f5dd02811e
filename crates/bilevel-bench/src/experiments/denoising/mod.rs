//! Denoising by a variational model with a learned prior: the weights of its filters, and the filters.
//!
//! ```text
//! f(x, y) = 1/2 norm(y)^2 + sum_k exp(a_k) sum_p phi((c_k B * (v + y))_p)    v noisy, v + y the denoised image
//! F(x, y) = 1/n norm(v + y - u)^2                                            u clean, without a border
//! ```
//!
//! x = (a, c) are the logarithms of the weights of the filters and their coefficients in the basis B, the discrete
//! cosine transform of patches without its constant; y is the correction, so that it starts at 0 for every image.
//! Pixels are in units of the standard deviation of the noise. phi is one of
//!
//! | `--potential` | phi(z), with r = 1 + z^2 / e^2 | |
//! |---|---|---|
//! | `abs` | r^(1/2) | the smoothed absolute value, p = 1; f is convex |
//! | `root` | r^(1/4) | p = 1/2 |
//! | `log` | log r | Student's t, as in fields of experts |
//!
//! Baselines: the `noisy` image, and total variation (`tv`) with the best weight on the training images.
//!
//! The lower variable belongs to the images of a batch. Therefore methods that move x and y together are not
//! applicable; all hypergradients are, from the same start.
//!
//! Sources: K. Kunisch and T. Pock, "A bilevel optimization approach for parameter learning in variational models", 2013
//! (weights of given filters, phi = |z|^p); Y. Chen, R. Ranftl and T. Pock, "Insights into analysis operator learning:
//! from patch-based sparse models to higher-order MRFs", 2014 (filters too, DCT basis, log).

mod data;
mod problem;
mod quality;
mod run;
mod settings;
mod total_variation;

pub use problem::{Correction, Denoising, Images, Potential, Prior};
pub use run::Prepared;
pub use settings::{Reference, Settings};
