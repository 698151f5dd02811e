//! Newton steps in a trust region.

use bilevel_program::Vector;

use super::{Iterate, Minimum, Product, Stop, TwiceDifferentiable, Until};

/// `newton`: `y' = y + p`, where p minimises the model `<f_y, p> + <p, f_yy p> / 2` over `norm(p) <= r`, by conjugate
/// gradients that end at the boundary where the curvature is negative (Steihaug). r follows from how well the model
/// foresaw the change of f.
///
/// Requires: f twice differentiable, convex or not; no step size, no Hessian. Near a minimum of positive curvature the
/// error is squared from step to step. Cost of a step: a gradient, and a product for each conjugate gradient, about as
/// many as `f_yy` has clusters of eigenvalues.
///
/// Source: T. Steihaug, "The conjugate gradient method and trust regions in large scale optimization", 1983.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Newton {
    until: Until,
}

minimiser!(Newton, "newton");

/// The radius below which no step changes y.
const LEAST_RADIUS: f64 = 1e-15;

/// A step of the model.
struct Trial {
    step: Vector,
    /// By how much the model falls.
    fall: f64,
    /// Whether it ends at the boundary.
    bounded: bool,
}

/// The step of the model in the ball of radius `radius`: conjugate gradients until `norm(f_yy p + f_y)` is `share` of
/// what it was.
fn steihaug(gradient: &Vector, hessian: &Product<'_>, radius: f64, share: f64) -> Trial {
    let mut step = gradient.zeros_like();
    let mut image = step.clone();
    let mut rest = gradient.scale(-1.0);
    let mut along = rest.clone();
    let mut square = rest.dot(&rest);
    let enough = square * share * share;
    let trial = |step: Vector, image: &Vector, bounded| {
        let fall = -gradient.dot(&step) - step.dot(image) / 2.0;
        Trial { step, fall, bounded }
    };
    // In exact arithmetic as many as there are numbers.
    for _ in 0..2 * gradient.layout().size() + 10 {
        let product = hessian(&along);
        let curvature = along.dot(&product);
        let length = square / curvature;
        let next = step.axpy(length, &along);
        let inside = next.norm() < radius;
        if curvature <= 0.0 || !inside {
            // To the boundary: `norm(p + t d) = r`.
            let (a, b) = (along.dot(&along), step.dot(&along));
            let c = radius * radius - step.dot(&step);
            let length = c / (b + (b * b + a * c).max(0.0).sqrt());
            let step = step.axpy(length, &along);
            return trial(step, &image.axpy(length, &product), true);
        }
        step = next;
        image = image.axpy(length, &product);
        rest = rest.axpy(-length, &product);
        let next_square = rest.dot(&rest);
        if next_square <= enough {
            break;
        }
        along = rest.axpy(next_square / square, &along);
        square = next_square;
    }
    trial(step, &image, false)
}

impl Newton {
    fn run(&self, f: &dyn TwiceDifferentiable, start: &Vector, until: Until) -> Minimum {
        let mut here = Iterate::new(f, start);
        let mut radius = start.norm().max(1.0);
        let mut hessian = f.hessian(start);
        loop {
            if let Some(stop) = here.stop(until) {
                return here.end(stop);
            }
            let norm = here.gradient.norm();
            let Trial { step, fall, bounded } =
                steihaug(&here.gradient, &hessian, radius, norm.sqrt().min(0.1));
            let next = Iterate { steps: here.steps + 1, ..Iterate::new(f, &here.at.add(&step)) };
            // Where both are rounding, the model is trusted.
            let rounding = here.rounding();
            let ratio = (here.value - next.value + rounding) / (fall + rounding);
            let finite = next.value.is_finite() && next.gradient.all_finite();
            let length = step.norm();
            let foreseen = ratio >= 0.25;
            if !finite || !foreseen {
                radius = length / 4.0;
            } else if ratio > 0.75 && bounded {
                radius *= 2.0;
            }
            // Where f cannot tell, the gradient can.
            let better = fall > rounding || next.gradient.norm() < norm;
            if finite && ratio > 1e-4 && better {
                here = next;
                hessian = f.hessian(&here.at);
            } else {
                here.steps += 1;
                if !better || radius <= LEAST_RADIUS * here.at.norm().max(1.0) {
                    return here.end(Stop::NoDescent);
                }
            }
        }
    }
}
