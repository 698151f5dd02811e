//! Gradient descent with backtracking.

use bilevel_program::Vector;

use super::line_search::armijo;
use super::{Differentiable, Iterate, Minimum, Set, Stop, Until};

/// `armijo`: `y' = y + t d` with `d = P(y - s f_y(y)) - y`, P the projection onto a set or the identity; t is halved from 1
/// until f falls enough, by Armijo's inequality, and s is the step of Barzilai and Borwein, `<e, e> / <e, z>` with the last
/// changes e of y and z of `f_y`.
///
/// Requires: a gradient that is Lipschitz; no step size. Cost: a gradient and about one value a step.
///
/// Source: L. Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", 1966;
/// J. Barzilai and J. M. Borwein, "Two-point step size gradient methods", 1988; with a set E. G. Birgin, J. M. Martinez and
/// M. Raydan, "Nonmonotone spectral projected gradient methods on convex sets", 2000, here monotone.
#[derive(Clone, Debug)]
pub struct Armijo {
    until: Until,
    set: Set,
}

minimiser!(Armijo, "armijo", set);

impl Armijo {
    /// The end of a descent from `start`.
    pub fn descend(&self, f: &(impl Differentiable + ?Sized), start: &Vector) -> Minimum {
        self.run(f, start, self.until)
    }

    fn run(&self, f: &(impl Differentiable + ?Sized), start: &Vector, until: Until) -> Minimum {
        let mut here = Iterate::within(&self.set, f, &self.set.project(start.clone()));
        let mut length = 1.0 / here.gradient.norm().max(1.0);
        loop {
            if let Some(stop) = here.stop(until) {
                return here.end(stop);
            }
            let along = self.set.step(&here.at, here.gradient.scale(-length));
            let Some((share, moved)) = armijo(f, &self.set, &here, &along, 1.0) else {
                return here.end(Stop::NoDescent);
            };
            let next = Iterate { steps: here.steps + 1, ..Iterate::within(&self.set, f, &moved) };
            if !next.norm.is_finite() {
                return here.end(Stop::NoDescent);
            }
            let change = next.gradient.sub(&here.gradient);
            let (step, turn) = (along.scale(share), along.dot(&change) * share);
            length = if turn > 0.0 { step.dot(&step) / turn } else { 4.0 * share * length };
            here = next;
        }
    }
}
