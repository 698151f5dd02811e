//! How far to go along a direction.

use bilevel_program::Vector;

use super::{Differentiable, Iterate, Set};

/// The share of the decrease that the slope promises which a step must reach.
const DECREASE: f64 = 1e-4;

/// The share of the slope that may be left after a step.
const CURVATURE: f64 = 0.9;

/// How often a step is halved or doubled.
const TRIALS: usize = 60;

/// The first of the lengths `first, first / 2, ...` with
///
/// ```text
/// f(y + t d) <= f(y) + c t <f_y, d>
/// ```
///
/// up to rounding; none if there is none. d leads to a point of the set, and so do its parts, up to rounding, which the
/// projection removes.
///
/// Source: L. Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", 1966.
pub(super) fn armijo(
    f: &(impl Differentiable + ?Sized),
    set: &Set,
    here: &Iterate,
    along: &Vector,
    first: f64,
) -> Option<(f64, Vector)> {
    let slope = here.gradient.dot(along);
    let mut length = first;
    for _ in 0..TRIALS {
        let moved = set.project(here.at.axpy(length, along));
        if f.value(&moved) <= here.value + DECREASE * length * slope + here.rounding() {
            return Some((length, moved));
        }
        length /= 2.0;
    }
    None
}

/// A point along `along` that is low enough, by [`armijo`]'s inequality, and far enough, where the slope has risen to
///
/// ```text
/// <f_y(y + t d), d> >= c' <f_y, d>
/// ```
///
/// by doubling and bisection. A function with a kink in the way has such a point on the far side of it. Where none is
/// found, the farthest that is low enough; none if there is none.
///
/// Source: A. S. Lewis and M. L. Overton, "Nonsmooth optimization via quasi-Newton methods", 2013, Alg. 2.6.
pub(super) fn weak_wolfe(
    f: &(impl Differentiable + ?Sized),
    here: &Iterate,
    along: &Vector,
    first: f64,
) -> Option<Iterate> {
    let slope = here.gradient.dot(along);
    let (mut near, mut far) = (0.0, f64::INFINITY);
    let mut length = first;
    let mut low: Option<Iterate> = None;
    for _ in 0..TRIALS {
        let mut next = Iterate::new(f, &here.at.axpy(length, along));
        next.steps = here.steps + 1;
        let finite = next.value.is_finite() && next.gradient.all_finite();
        if !finite || next.value > here.value + DECREASE * length * slope + here.rounding() {
            far = length;
        } else {
            near = length;
            let enough = next.gradient.dot(along) >= CURVATURE * slope;
            low = Some(next);
            if enough {
                break;
            }
        }
        // Where f is not defined, and costly to find so, it is left by larger steps.
        length = match (far.is_finite(), finite) {
            (false, _) => 2.0 * near,
            (true, true) => (near + far) / 2.0,
            (true, false) => near + (far - near) / 8.0,
        };
        // Between the two there is no other number, or none that matters.
        let narrow = if low.is_some() { 1e-3 } else { 1e-14 };
        if far - near <= narrow * far {
            break;
        }
    }
    low
}
