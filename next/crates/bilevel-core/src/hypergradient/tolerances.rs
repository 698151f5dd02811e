//! Tolerances that fall from one hypergradient to the next.

use std::fmt::{Display, Formatter};

use crate::Error;
use crate::error::{not_negative, positive};

/// `e_k`: how exactly hypergradient k, counted from 0, is computed.
///
/// Coarse hypergradients do far from the optimum and cost less. The sum of the `e_k` is finite for all of
/// these but the constant, and as long as [`Tolerances::with_least`] does not hold them up: what HOAG's
/// proof of convergence asks for, beside smooth losses, a bounded set of x and upper steps short enough.
/// Its `e_k` bound `norm(y - y*)` and `norm(F_y - f_yy q)`; these bound `norm(f_y)`, which bounds the
/// former where `f_yy >= mu > 0` (divide by mu), and the residual relative to `norm(F_y)`.
///
/// Source: F. Pedregosa, "Hyperparameter optimization with approximate gradient", 2016, section 4.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    first: f64,
    decay: Decay,
    least: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Decay {
    Geometric(f64),
    Power(i32),
}

impl Tolerances {
    /// `e_k = e`.
    ///
    /// # Errors
    /// If `e` is not finite and positive.
    pub fn constant(e: f64) -> Result<Self, Error> {
        Self::new(e, Decay::Geometric(1.0))
    }

    /// `e_k = first ratio^k`.
    ///
    /// # Errors
    /// If `first` is not finite and positive, or `ratio` not in (0, 1).
    pub fn geometric(first: f64, ratio: f64) -> Result<Self, Error> {
        if !(ratio > 0.0 && ratio < 1.0) {
            return Err(Error::InvalidSetting {
                setting: "ratio of tolerances",
                found: ratio.to_string(),
                expected: "a number in (0, 1)",
                cure: "0.9 is common; `Tolerances::constant` does not fall",
            });
        }
        Self::new(first, Decay::Geometric(ratio))
    }

    /// `e_k = first / (k + 1)^2`.
    ///
    /// # Errors
    /// If `first` is not finite and positive.
    pub fn quadratic(first: f64) -> Result<Self, Error> {
        Self::new(first, Decay::Power(2))
    }

    /// `e_k = first / (k + 1)^3`.
    ///
    /// # Errors
    /// If `first` is not finite and positive.
    pub fn cubic(first: f64) -> Result<Self, Error> {
        Self::new(first, Decay::Power(3))
    }

    fn new(first: f64, decay: Decay) -> Result<Self, Error> {
        Ok(Self { first: positive("first tolerance", first)?, decay, least: 0.0 })
    }

    /// With `max(e_k, least)`: what the element type can reach.
    ///
    /// # Errors
    /// If `least` is negative or not finite.
    pub fn with_least(mut self, least: f64) -> Result<Self, Error> {
        self.least = not_negative("least tolerance", least)?;
        Ok(self)
    }

    /// `e_k`.
    pub fn at(self, k: usize) -> f64 {
        let exponent = i32::try_from(k).unwrap_or(i32::MAX);
        let decay = match self.decay {
            Decay::Geometric(ratio) => ratio.powi(exponent),
            Decay::Power(power) => (k as f64 + 1.0).powi(-power),
        };
        (self.first * decay).max(self.least)
    }
}

impl Display for Tolerances {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.decay {
            Decay::Geometric(1.0) => write!(f, "{:e}", self.first)?,
            Decay::Geometric(ratio) => write!(f, "{:e} {ratio}^k", self.first)?,
            Decay::Power(power) => write!(f, "{:e} / (k + 1)^{power}", self.first)?,
        }
        if self.least > 0.0 { write!(f, ", at least {:e}", self.least) } else { Ok(()) }
    }
}
