//! Gradient descent with backtracking.

use bilevel_program::Vector;

use super::line_search::armijo;
use super::{Differentiable, Iterate, Minimum, Stop, Until};

/// `armijo`: `y' = y - t f_y(y)`, t halved until f falls enough, by Armijo's inequality, from the step of Barzilai and
/// Borwein, `<s, s> / <s, z>` with the last changes s of y and z of `f_y`.
///
/// Requires: a gradient that is Lipschitz; no step size. Cost: a gradient and about one value a step.
///
/// Source: L. Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", 1966;
/// J. Barzilai and J. M. Borwein, "Two-point step size gradient methods", 1988.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Armijo {
    until: Until,
}

minimiser!(Armijo, "armijo");

impl Armijo {
    /// The end of a descent from `start`.
    pub fn descend(&self, f: &(impl Differentiable + ?Sized), start: &Vector) -> Minimum {
        self.run(f, start, self.until)
    }

    fn run(&self, f: &(impl Differentiable + ?Sized), start: &Vector, until: Until) -> Minimum {
        let mut here = Iterate::new(f, start);
        let mut first = 1.0 / here.gradient.norm().max(1.0);
        loop {
            if let Some(stop) = here.stop(until) {
                return here.end(stop);
            }
            let along = here.gradient.scale(-1.0);
            let Some((length, moved)) = armijo(f, &here, &along, first) else {
                return here.end(Stop::NoDescent);
            };
            let next = Iterate { steps: here.steps + 1, ..Iterate::new(f, &moved) };
            let change = next.gradient.sub(&here.gradient);
            let (step, turn) = (along.scale(length), along.dot(&change) * length);
            first = if turn > 0.0 { step.dot(&step) / turn } else { 4.0 * length };
            here = next;
        }
    }
}
