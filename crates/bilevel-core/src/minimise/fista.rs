//! Accelerated gradient descent with backtracking.

use bilevel_program::Vector;

use super::{Differentiable, Iterate, Minimum, Set, Stop, Until};

/// `fista`: Nesterov's steps, each as long as f allows, and begun anew where the extrapolation climbs,
///
/// ```text
/// y_k = P(u_k - s f_y(u_k)),   u_{k+1} = P(y_k + (t_k - 1) / t_{k+1} (y_k - y_{k-1})),   t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2
/// ```
///
/// P the projection onto a set or the identity. s is doubled at the start while, and halved later until,
///
/// ```text
/// f(y_k) <= f(u_k) + <f_y(u_k), d> + norm(d)^2 / (2 s),   d = y_k - u_k
/// ```
///
/// Where `f(u_{k+1}) > f(y_k)`, the next step starts at `y_k` with t = 1, and tries 2 s.
///
/// Requires: a gradient that is Lipschitz; no step size. On a convex f of condition c, the error falls by a constant factor
/// in about sqrt(c) steps, where [`Armijo`](super::Armijo) takes c in theory. Cost: a gradient and about one value a step.
///
/// Source: A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009; the restart after
/// B. O'Donoghue and E. Candes, "Adaptive restart for accelerated gradient schemes", 2015.
#[derive(Clone, Debug)]
pub struct Fista {
    until: Until,
    set: Set,
}

minimiser!(Fista, "fista", set);

/// How often a step is halved or doubled.
const TRIALS: usize = 60;

/// A step from u that the inequality allows.
struct Step {
    y: Vector,
    value: f64,
    length: f64,
}

impl Fista {
    /// The end of a descent from `start`.
    pub fn descend(&self, f: &(impl Differentiable + ?Sized), start: &Vector) -> Minimum {
        self.run(f, start, self.until)
    }

    /// The step of this length, if it is allowed.
    fn step(&self, f: &(impl Differentiable + ?Sized), at: &Iterate, length: f64) -> Option<Step> {
        let d = self.set.step(&at.at, at.gradient.scale(-length));
        let y = at.at.add(&d);
        let value = f.value(&y);
        let model = at.gradient.dot(&d) + d.dot(&d) / (2.0 * length);
        (value <= at.value + model + at.rounding()).then_some(Step { y, value, length })
    }

    /// The longest step of `length` doubled again and again, or the first of it halved.
    fn first(&self, f: &(impl Differentiable + ?Sized), at: &Iterate, length: f64) -> Option<Step> {
        let mut found = self.halved(f, at, length)?;
        while found.length >= length && found.length < length * 2.0_f64.powi(TRIALS as i32) {
            match self.step(f, at, 2.0 * found.length) {
                Some(longer) => found = longer,
                None => break,
            }
        }
        Some(found)
    }

    fn halved(
        &self,
        f: &(impl Differentiable + ?Sized),
        at: &Iterate,
        length: f64,
    ) -> Option<Step> {
        (0..TRIALS).find_map(|k| self.step(f, at, length / 2.0_f64.powi(k as i32)))
    }

    fn run(&self, f: &(impl Differentiable + ?Sized), start: &Vector, until: Until) -> Minimum {
        let see = |u: &Vector, steps| Iterate { steps, ..Iterate::within(&self.set, f, u) };
        let mut here = see(&self.set.project(start), 0);
        let mut before = here.at.clone();
        let (mut length, mut t) = (1.0 / here.gradient.norm().max(1.0), 1.0_f64);
        loop {
            if let Some(stop) = here.stop(until) {
                return here.end(stop);
            }
            let step = match (here.steps, t == 1.0) {
                (0, _) => self.first(f, &here, length),
                (_, true) => self.halved(f, &here, 2.0 * length),
                (_, false) => self.halved(f, &here, length),
            };
            let Some(Step { y, value, length: found }) = step else {
                return here.end(Stop::NoDescent);
            };
            let next = (1.0 + (1.0 + 4.0 * t * t).sqrt()) / 2.0;
            let moved = y.sub(&before).scale((t - 1.0) / next);
            let ahead = see(&y.add(&self.set.step(&y, moved)), here.steps + 1);
            // Also where f or its gradient is not finite there.
            let falls = ahead.value <= value + here.rounding() && ahead.norm.is_finite();
            (here, t) = match falls {
                true => (ahead, next),
                false => (see(&y, here.steps + 1), 1.0),
            };
            (before, length) = (y, found);
        }
    }
}
