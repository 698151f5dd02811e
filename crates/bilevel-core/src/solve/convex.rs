//! Whether a lower level is convex, as far as can be seen.

use bilevel_program::Vector;
use nalgebra::DMatrix;

use super::region::Region;
use crate::minimise::{LowerLoss, TwiceDifferentiable};
use crate::vector_ops::unit;
use crate::{Constraints, Direction, LowerProblem, Oracle, Samples};

/// Points at which the curvature is looked at.
const POINTS: usize = 6;

/// The largest Hessian that is written out; of a larger one a few columns are.
const LARGEST: usize = 40;

/// Whether f, and the sum of the inequalities, have no negative curvature in y at points spread over the region, and the
/// equalities no curvature.
pub(super) fn seems_convex(
    oracle: &dyn Oracle,
    constraints: &dyn Constraints,
    region: &Region,
    (x, y): (&Vector, &Vector),
) -> bool {
    (0..POINTS).all(|k| {
        let (x, y) = (region.x(k, x), region.y(k, y));
        let loss = LowerLoss::new(LowerProblem::new(oracle, &x, Samples::default()));
        let hessian = loss.hessian(&y);
        if !is_convex(&y, &hessian) {
            return false;
        }
        let (count, none) = (constraints.count(), vec![0.0; constraints.count()]);
        if count == 0 {
            return true;
        }
        let inequalities = count - constraints.equalities();
        let weigh = |of: &dyn Fn(usize) -> f64| (0..count).map(of).collect::<Vec<_>>();
        let product = |weights: Vec<f64>| {
            let (x, y, none) = (&x, &y, &none);
            move |v: &Vector| constraints.product(x, y, &weights, (none, Direction::in_y(v))).y
        };
        let below = product(weigh(&|j| f64::from(j < inequalities)));
        let equal = weigh(&|j| if j < inequalities { 0.0 } else { 1.0 + j as f64 });
        let level = product(equal.clone());
        let turned = product(equal.iter().map(|w| -w).collect());
        is_convex(&y, &below) && is_convex(&y, &level) && is_convex(&y, &turned)
    })
}

/// Whether a Hessian has no negative eigenvalue, or a large one no negative curvature along a few directions.
fn is_convex(like: &Vector, hessian: &dyn Fn(&Vector) -> Vector) -> bool {
    let n = like.layout().size();
    if n > LARGEST {
        let directions = (0..LARGEST).map(|k| unit(like, k * n / LARGEST));
        return directions.map(|v| v.dot(&hessian(&v))).all(|curvature| curvature >= -1e-9);
    }
    let values = (0..n).flat_map(|i| hessian(&unit(like, i)).to_vec());
    let matrix = DMatrix::from_iterator(n, n, values);
    if !matrix.iter().all(|v| v.is_finite()) {
        return false;
    }
    let eigenvalues = ((&matrix + matrix.transpose()) / 2.0).symmetric_eigenvalues();
    eigenvalues.min() >= -1e-9 * eigenvalues.amax().max(1.0)
}
