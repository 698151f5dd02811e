//! Quasi-Newton steps with a matrix.

use bilevel_program::Vector;
use nalgebra::{DMatrix, DVector};

use super::line_search::weak_wolfe;
use super::{Differentiable, Iterate, Minimum, PATIENCE, Stop, Until};

/// `bfgs`: `y' = y - t H f_y(y)`, where H approximates the inverse Hessian by the changes of y and of `f_y`, and t
/// satisfies Wolfe's weak conditions: f falls by a share of what the slope promises, and the slope rises by a share.
///
/// Requires: few variables, as H is a matrix on the host. Not that f is smooth: at a kink the conditions hold on the far
/// side of it, and H learns that f is steep across. So it also minimises `F(x, y*(x))` where constraints become
/// active, and ends at a minimum with a kink by [`Stop::NoDescent`]. Cost: about one gradient a step; memory: `n^2`.
///
/// Source: A. S. Lewis and M. L. Overton, "Nonsmooth optimization via quasi-Newton methods", 2013.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bfgs {
    until: Until,
}

minimiser!(Bfgs, "bfgs");

impl Bfgs {
    /// The end of a descent from `start`.
    pub fn descend(&self, f: &(impl Differentiable + ?Sized), start: &Vector) -> Minimum {
        self.run(f, start, self.until)
    }

    fn run(&self, f: &(impl Differentiable + ?Sized), start: &Vector, until: Until) -> Minimum {
        let mut here = Iterate::new(f, start);
        let mut stalled = 0;
        let mut inverse: Option<DMatrix<f64>> = None;
        loop {
            if let Some(stop) = here.stop(until) {
                return here.end(stop);
            }
            if stalled >= PATIENCE {
                return here.end(Stop::NoDescent);
            }
            let gradient = DVector::from_vec(here.gradient.to_vec());
            let along = match &inverse {
                Some(inverse) => -(inverse * &gradient),
                None => &gradient * (-1.0 / gradient.norm().max(1.0)),
            };
            let along = Vector::from_slice(start.layout(), along.as_slice(), &start.device());
            let falls = here.gradient.dot(&along) < 0.0;
            let Some(next) = weak_wolfe(f, &here, &along, 1.0).filter(|_| falls) else {
                if inverse.take().is_none() {
                    return here.end(Stop::NoDescent);
                }
                // Once more along the gradient.
                continue;
            };
            let s = DVector::from_vec(next.at.sub(&here.at).to_vec());
            let z = DVector::from_vec(next.gradient.sub(&here.gradient).to_vec());
            stalled = if here.stalls(&next) { stalled + 1 } else { 0 };
            here = next;
            let product = s.dot(&z);
            if product <= f64::EPSILON * s.norm() * z.norm() {
                continue;
            }
            let n = s.len();
            let h = inverse.unwrap_or_else(|| DMatrix::identity(n, n) * (product / z.dot(&z)));
            // `(I - s z' / <s, z>) H (I - z s' / <s, z>) + s s' / <s, z>`
            let hz = &h * &z;
            let cross = &hz * s.transpose();
            let square = (1.0 + z.dot(&hz) / product) / product;
            inverse =
                Some(h + &s * s.transpose() * square - (&cross + cross.transpose()) / product);
        }
    }
}
