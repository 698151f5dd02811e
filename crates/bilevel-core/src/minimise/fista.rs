//! Accelerated gradient descent with backtracking.

use bilevel_program::Vector;

use super::{Differentiable, Iterate, Minimum, Set, Stop, Until};

/// `fista`: Nesterov's steps with backtracking and restarts,
///
/// ```text
/// y_k = P(u_k - s f_y(u_k)),   u_{k+1} = P(y_k + (t_k - 1) / t_{k+1} (y_k - y_{k-1})),   t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2
/// ```
///
/// where P is the projection onto a set or the identity. The first step doubles s as long as
///
/// ```text
/// f(y_k) <= f(u_k) + <f_y(u_k), d> + norm(d)^2 / (2 s),   d = y_k - u_k
/// ```
///
/// holds; later steps halve s until it holds. Where `norm(d)^2 / (2 s)` is below the rounding of f, the gradients decide:
/// `<f_y(y_k) - f_y(u_k), d> <= norm(d)^2 / s`. If `f(u_{k+1}) > f(y_k)`, or the slope towards `u_{k+1}` is positive where the
/// two differ by rounding only, the method restarts at `y_k` with t = 1 and 2 s.
///
/// Requires: a Lipschitz continuous gradient; no step size. On a convex f of condition number c, the error decreases by a
/// constant factor in about sqrt(c) steps, where [`Armijo`](super::Armijo) takes c in theory. Cost: a gradient and about one
/// value per step, and a gradient per restart.
///
/// Source: A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009; the restart after
/// B. O'Donoghue and E. Candes, "Adaptive restart for accelerated gradient schemes", 2015.
#[derive(Clone, Debug)]
pub struct Fista {
    until: Until,
    set: Set,
}

minimiser!(Fista, "fista", set);

/// The largest number of times that a step is halved or doubled.
const TRIALS: usize = 60;

/// A step from u for which the inequality holds.
struct Accepted {
    y: Vector,
    value: f64,
    length: f64,
}

impl Fista {
    /// The end of a descent from `start`.
    pub fn descend(&self, f: &(impl Differentiable + ?Sized), start: &Vector) -> Minimum {
        self.run(f, start, self.until)
    }

    /// The step of this length, if the inequality holds for it.
    fn step(
        &self,
        f: &(impl Differentiable + ?Sized),
        at: &Iterate,
        length: f64,
    ) -> Option<Accepted> {
        let y = self.set.project(at.at.axpy(-length, &at.gradient));
        let d = y.sub(&at.at);
        let square = d.dot(&d) / length;
        let (value, holds) = if square / 2.0 > at.rounding() {
            let value = f.value(&y);
            (value, value <= at.value + at.gradient.dot(&d) + square / 2.0 + at.rounding() / 10.0)
        } else {
            let (value, gradient) = f.gradient(&y);
            (value, value.is_finite() && gradient.sub(&at.gradient).dot(&d) <= square)
        };
        holds.then_some(Accepted { y, value, length })
    }

    /// The longest step of `length` doubled again and again, or the first of it halved.
    fn first(
        &self,
        f: &(impl Differentiable + ?Sized),
        at: &Iterate,
        length: f64,
    ) -> Option<Accepted> {
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
    ) -> Option<Accepted> {
        (0..TRIALS).find_map(|k| self.step(f, at, length / 2.0_f64.powi(k as i32)))
    }

    fn run(&self, f: &(impl Differentiable + ?Sized), start: &Vector, until: Until) -> Minimum {
        let see = |u: &Vector, steps| Iterate { steps, ..Iterate::within(&self.set, f, u) };
        let mut here = see(&self.set.project(start.clone()), 0);
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
            let Some(Accepted { y, value, length: found }) = step else {
                return here.end(Stop::NoDescent);
            };
            let next = (1.0 + (1.0 + 4.0 * t * t).sqrt()) / 2.0;
            let moved = y.sub(&before).scale((t - 1.0) / next);
            let ahead = see(&self.set.project(y.add(&moved)), here.steps + 1);
            (here, t) = if goes_on(&ahead, (&y, value), here.rounding()) {
                (ahead, next)
            } else {
                let again = see(&y, here.steps + 1);
                if !again.norm.is_finite() {
                    return here.end(Stop::NoDescent);
                }
                (again, 1.0)
            };
            (before, length) = (y, found);
        }
    }
}

/// Whether the extrapolation from y, where f is `value`, does not lead upwards.
fn goes_on(ahead: &Iterate, (y, value): (&Vector, f64), rounding: f64) -> bool {
    if !ahead.norm.is_finite() {
        return false;
    }
    match (ahead.value - value).abs() <= rounding {
        true => ahead.gradient.dot(&ahead.at.sub(y)) <= 0.0,
        false => ahead.value < value,
    }
}
