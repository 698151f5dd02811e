//! Quasi-Newton steps with a few pairs of vectors.

use std::collections::VecDeque;

use bilevel_program::Vector;

use super::line_search::weak_wolfe;
use super::{Differentiable, Iterate, Minimum, PATIENCE, Stop, Until};

/// `lbfgs`: `y' = y - t H f_y(y)`, where H is the inverse Hessian that the last 10 changes of y and of `f_y` make of a
/// multiple of the identity, and t is found by [Wolfe's weak conditions](super::Bfgs).
///
/// Requires: a smooth function; no step size. Cost: about one gradient a step; memory: 20 vectors.
///
/// Source: D. C. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    until: Until,
}

/// The pairs that are kept.
const PAIRS: usize = 10;

/// A change s of y and z of the gradient.
struct Pair {
    s: Vector,
    z: Vector,
    /// `<s, z>`
    product: f64,
}

minimiser!(Lbfgs, "lbfgs");

impl Lbfgs {
    /// The end of a descent from `start`.
    pub fn descend(&self, f: &(impl Differentiable + ?Sized), start: &Vector) -> Minimum {
        self.run(f, start, self.until)
    }

    fn run(&self, f: &(impl Differentiable + ?Sized), start: &Vector, until: Until) -> Minimum {
        let mut here = Iterate::new(f, start);
        let mut stalled = 0;
        let mut pairs: VecDeque<Pair> = VecDeque::new();
        loop {
            if let Some(stop) = here.stop(until) {
                return here.end(stop);
            }
            if stalled >= PATIENCE {
                return here.end(Stop::NoDescent);
            }
            let along = inverse(&pairs, &here.gradient).scale(-1.0);
            let Some(next) = weak_wolfe(f, &here, &along, 1.0) else {
                if pairs.is_empty() {
                    return here.end(Stop::NoDescent);
                }
                // Once more along the gradient.
                pairs.clear();
                continue;
            };
            let (s, z) = (next.at.sub(&here.at), next.gradient.sub(&here.gradient));
            let product = s.dot(&z);
            if product > f64::EPSILON * s.norm() * z.norm() {
                pairs.push_back(Pair { s, z, product });
                if pairs.len() > PAIRS {
                    pairs.pop_front();
                }
            }
            stalled = if here.stalls(&next) { stalled + 1 } else { 0 };
            here = next;
        }
    }
}

/// `H v` by the two loops over the pairs.
fn inverse(pairs: &VecDeque<Pair>, v: &Vector) -> Vector {
    let Some(last) = pairs.back() else {
        return v.scale(1.0 / v.norm().max(1.0));
    };
    let mut q = v.clone();
    let mut weights = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let weight = pair.s.dot(&q) / pair.product;
        q = q.axpy(-weight, &pair.z);
        weights.push(weight);
    }
    q = q.scale(last.product / last.z.dot(&last.z));
    for (pair, weight) in pairs.iter().zip(weights.iter().rev()) {
        q = q.axpy(weight - pair.z.dot(&q) / pair.product, &pair.s);
    }
    q
}
