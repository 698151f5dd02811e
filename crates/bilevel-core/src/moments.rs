//! The moving averages of Adam.

use bilevel_program::{Vector, float};

use crate::vector_ops::multiply;
use crate::{Error, Snapshot};

/// The moving averages of Adam, which rescale a direction g:
///
/// ```text
/// m' = 0.9 m + 0.1 g,   v' = 0.999 v + 0.001 g^2,   m_0 = v_0 = 0
/// (m' / (1 - 0.9^t)) / (sqrt(v' / (1 - 0.999^t)) + 1e-8)
/// ```
///
/// For variables whose steps are not differentiated: those of a joint method, and the q of
/// [`ApproxGrad`](crate::ApproxGrad). [`Adam`](crate::Adam) is the dynamics that has derivatives.
///
/// Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    averages: Option<(Vector, Vector)>,
    t: usize,
}

impl Moments {
    const BETA: (f64, f64) = (0.9, 0.999);
    const EPSILON: f64 = 1e-8;

    /// Adam's direction for the gradient `g`.
    pub fn rescale(&mut self, g: &Vector) -> Vector {
        let (one, two) = Self::BETA;
        let (first, second) =
            self.averages.take().unwrap_or_else(|| (g.zeros_like(), g.zeros_like()));
        let first = first.scale(one).axpy(1.0 - one, g);
        let second = second.scale(two).axpy(1.0 - two, &multiply(g, g));
        self.t += 1;
        let t = i32::try_from(self.t).unwrap_or(i32::MAX);
        let root = second.scale(1.0 / (1.0 - two.powi(t))).map(float::sqrt);
        let root = root.map(|leaf| float::add_scalar(leaf, Self::EPSILON));
        let rescaled = first.scale(1.0 / (1.0 - one.powi(t))).zip(&root, float::div);
        self.averages = Some((first, second));
        rescaled
    }

    pub(crate) fn save(&self, to: &mut Snapshot) {
        to.put_count("t", self.t);
        to.put_optional_vector("first", self.averages.as_ref().map(|averages| &averages.0));
        to.put_optional_vector("second", self.averages.as_ref().map(|averages| &averages.1));
    }

    pub(crate) fn restore(&mut self, from: &mut Snapshot, like: &Vector) -> Result<(), Error> {
        self.t = from.take_count("t")?;
        let first = from.take_optional_vector("first", like)?;
        self.averages = first.zip(from.take_optional_vector("second", like)?);
        Ok(())
    }
}
