//! How far from x a proxy learns.

use std::fmt;

use bilevel_program::{Vector, float};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::error::{not_negative, positive};
use crate::vector_ops::multiply;
use crate::{Error, Schedule, Snapshot};

/// The standard deviations of the perturbations of x: one number for all entries, or one for each entry, learned with
/// x.
///
/// A learned one descends `E F(x + eps, Psi(x + eps)) - tau H(eps)`, `H = sum_i ln sigma_i` the entropy up to a
/// constant, in `s = ln sigma` and with the eps by which x is moved:
///
/// ```text
/// eps = exp(s) * xi,  xi ~ N(0, I),    s' = s - c (g * eps - tau),   g = F_x + (dPsi/dx)' F_y at x + eps
/// ```
///
/// So sigma stays positive, and grows until F over the neighbourhood outweighs tau: where F is a square with the second
/// derivatives `h_i`, until `sigma_i^2 = tau / h_i`. With a fixed one the gradient of F is taken at x itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    sigma: f64,
    learned: Option<Learned>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Learned {
    rate: Schedule,
    entropy: Schedule,
}

impl Scale {
    /// `sigma` at every step. With 0 a proxy sees only x, and cannot learn how y depends on x.
    ///
    /// # Errors
    /// If `sigma` is negative or not finite.
    pub fn fixed(sigma: f64) -> Result<Self, Error> {
        Ok(Self { sigma: not_negative("perturbation scale", sigma)?, learned: None })
    }

    /// From `sigma`, with the step sizes `rate` (c) and the weight `entropy` (tau) of the entropy.
    ///
    /// # Errors
    /// If one is not finite and positive; the entropy may be 0, and sigma then shrinks.
    pub fn learned(
        sigma: f64,
        rate: impl Into<Schedule>,
        entropy: impl Into<Schedule>,
    ) -> Result<Self, Error> {
        let sigma = positive("perturbation scale", sigma)?;
        let rate = rate.into().positive("step size of the perturbation scale")?;
        let entropy = entropy.into().not_negative("weight of the entropy")?;
        Ok(Self { sigma, learned: Some(Learned { rate, entropy }) })
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.learned {
            None => write!(f, "scale {}", self.sigma),
            Some(Learned { rate, entropy }) => {
                write!(f, "scale from {} by {rate}, entropy {entropy}", self.sigma)
            }
        }
    }
}

/// Draws perturbations by a [`Scale`], and learns it.
#[derive(Clone, Debug)]
pub(super) struct Perturbation {
    scale: Scale,
    /// s, if it is learned and the first draw was made.
    logs: Option<Vector>,
    rng: ChaCha8Rng,
}

impl Perturbation {
    pub fn new(scale: Scale, seed: u64) -> Self {
        Self { scale, logs: None, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    pub fn scale(&self) -> Scale {
        self.scale
    }

    pub fn is_learned(&self) -> bool {
        self.scale.learned.is_some()
    }

    /// The learned sigma.
    pub fn sigma(&self) -> Option<Vector> {
        self.logs.as_ref().map(|logs| logs.map(float::exp))
    }

    /// eps.
    pub fn draw(&mut self, x: &Vector) -> Vector {
        let xi = normal(&mut self.rng, x);
        if !self.is_learned() {
            return xi.scale(self.scale.sigma);
        }
        let start = self.scale.sigma.ln();
        let logs = self.logs.get_or_insert_with(|| shifted(&x.zeros_like(), start));
        multiply(&logs.map(float::exp), &xi)
    }

    /// Uniform numbers between those of `low` and `high`.
    pub fn between(&mut self, low: &[f64], high: &[f64], like: &Vector) -> Vector {
        let draw = |(low, high): (&f64, &f64)| low + (high - low) * self.rng.random::<f64>();
        let values: Vec<_> = low.iter().zip(high).map(draw).collect();
        Vector::from_slice(like.layout(), &values, &like.device())
    }

    /// Moves s by the gradient at `x + eps`, if it is learned.
    pub fn learn(&mut self, k: usize, gradient: &Vector, eps: &Vector) {
        if let (Some(Learned { rate, entropy }), Some(logs)) = (self.scale.learned, &mut self.logs)
        {
            let slope = shifted(&multiply(gradient, eps), -entropy.at(k));
            *logs = logs.axpy(-rate.at(k), &slope);
        }
    }

    /// Writes s and the positions of the draws.
    pub fn save(&self, to: &mut Snapshot) {
        to.put_generator("draws", &self.rng);
        to.put_optional_vector("log_scale", self.logs.as_ref());
    }

    /// Reads them back, for an x like `x`.
    pub fn restore(&mut self, from: &mut Snapshot, x: &Vector) -> Result<(), Error> {
        self.rng = from.take_generator("draws")?;
        self.logs =
            if self.is_learned() { from.take_optional_vector("log_scale", x)? } else { None };
        Ok(())
    }
}

/// `v + by`, elementwise.
fn shifted(v: &Vector, by: f64) -> Vector {
    v.map(|leaf| float::add_scalar(leaf, by))
}

/// Standard normal numbers of the shapes of `like`.
pub(super) fn normal(rng: &mut ChaCha8Rng, like: &Vector) -> Vector {
    let values: Vec<f64> = rng.sample_iter(StandardNormal).take(like.layout().size()).collect();
    Vector::from_slice(like.layout(), &values, &like.device())
}
