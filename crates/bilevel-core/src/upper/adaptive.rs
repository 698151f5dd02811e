//! A step of x whose size follows from the hypergradients.

use bilevel_program::Vector;

use super::UpperStep;
use crate::error::positive;
use crate::{Error, Snapshot};

/// `x' = x - a_k g_k` with a step size from the changes of x and of the hypergradient:
///
/// ```text
/// L_k = norm(g_k - g_{k-1}) / norm(x_k - x_{k-1})
/// a_k = min(a_{k-1} sqrt(2/3 + a_{k-1} / a_{k-2}),  a_{k-1} / sqrt(max(2 (a_{k-1} L_k)^2 - 1, 0)))
/// ```
///
/// It grows by a factor of about 1.3 per step where the hypergradient changes little, and is at most about
/// `1 / (sqrt(2) L)` where it changes by L. No value of F is needed, and only the first step size is to be chosen.
///
/// Requires: a deterministic hypergradient. For convex F the iterates converge; an error of the hypergradient limits
/// how close they come. Memory: two vectors.
///
/// Source: Y. Malitsky and K. Mishchenko, "Adaptive proximal gradient method for convex optimization", 2024, Alg. 1.
#[derive(Clone, Debug)]
pub struct AdaptiveStep {
    first: f64,
    last: Option<Last>,
}

/// The last step.
#[derive(Clone, Debug)]
struct Last {
    x: Vector,
    gradient: Vector,
    size: f64,
    /// `a_{k-1} / a_{k-2}`
    growth: f64,
}

/// The ratio before the first step: the second step is not longer than the first.
const FIRST_GROWTH: f64 = 1.0 / 3.0;

impl AdaptiveStep {
    /// With the step size `first` of the first step, such as `1 / L`: one that is too small grows by a factor of about
    /// 1.3 per step.
    ///
    /// # Errors
    /// If `first` is not finite and positive.
    pub fn new(first: f64) -> Result<Self, Error> {
        Ok(Self { first: positive("first upper step size", first)?, last: None })
    }

    fn size(&self, x: &Vector, gradient: &Vector) -> (f64, f64) {
        let Some(Last { x: last_x, gradient: last_gradient, size, growth }) = &self.last else {
            return (self.first, FIRST_GROWTH);
        };
        let moved = x.sub(last_x).norm();
        // In a corner of a set the step size stays.
        if moved == 0.0 {
            return (*size, *growth);
        }
        let curvature = gradient.sub(last_gradient).norm() / moved;
        let room = 2.0 * (size * curvature).powi(2) - 1.0;
        let most = if room > 0.0 { size / room.sqrt() } else { f64::INFINITY };
        let next = (size * (2.0 / 3.0 + growth).sqrt()).min(most);
        (next, next / size)
    }
}

impl UpperStep for AdaptiveStep {
    fn step(&mut self, x: &Vector, gradient: &Vector) -> Vector {
        let (size, growth) = self.size(x, gradient);
        self.last = Some(Last { x: x.clone(), gradient: gradient.clone(), size, growth });
        x.axpy(-size, gradient)
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_optional_vector("x", self.last.as_ref().map(|last| &last.x));
        let Some(Last { gradient, size, growth, .. }) = &self.last else { return };
        to.put_vector("gradient", gradient);
        to.put_numbers("size", &[*size, *growth]);
    }

    fn restore(&mut self, from: &mut Snapshot, like: &Vector) -> Result<(), Error> {
        self.last = match from.take_optional_vector("x", like)? {
            None => None,
            Some(x) => {
                let gradient = from.take_vector("gradient", like)?;
                let numbers = from.take_numbers("size", 2)?;
                Some(Last { x, gradient, size: numbers[0], growth: numbers[1] })
            }
        };
        Ok(())
    }
}
