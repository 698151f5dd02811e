//! A log-barrier on the regularised value function.

use bilevel_program::Vector;

use super::{Iterate, JointMethod, Seen};
use crate::constrained::Residual;
use crate::error::{at_least_one, positive};
use crate::minimise::{Differentiable, Minimiser};
use crate::{
    BarrierOracle, Error, Lbfgs, Loss, LowerProblem, Objective, Oracle, Rates, Samples, Schedule,
    Snapshot, Wrt,
};

/// `bvfim`: interior points of `f(x, y) < f*(x)`, where `f*(x) = min_z f(x, z) + m1/2 norm(z)^2 + m2`; the lower level
/// may have many solutions, none of which needs to be isolated.
///
/// ```text
/// z_T by T_z steps of   z' = z - c (f_y(x, z) + m1 z)                                  from y
/// y_T by T_y steps of   y' = y - a (F_y(x, y) + th y + t f_y(x, y) / s)                 from z
/// x' = x - b (F_x(x, y) + t (f_x(x, y) - f_x(x, z)) / s),   s = f*(x) - f(x, y) > 0
/// ```
///
/// m1, m2, th and t decrease to 0 from step to step. A step that would leave the interior, or increase what it
/// descends, is halved until it does neither; the next one is twice as long again, up to its step size. Both problems
/// become ill-conditioned as t decreases, and a y that is not at its minimum makes x drift: [`Bvfim::solved_by`].
/// Pessimistic: y ascends F among the lower solutions, with the opposite sign in all terms besides F.
///
/// F and f stand for the losses with the smoothed barriers of weight t of their
/// [constraints](crate::BilevelProblem::constraints), as in a [`BarrierOracle`]: these are finite at infeasible points,
/// so that z is always a point with s > 0 from which y starts, whatever the start. In the pessimistic form, upper
/// constraints hold for the worst y. [`Seen`] has the losses with their barriers.
///
/// Cost: `T_z + T_y + 4` gradients of f, `T_y + 2` of F, and at most one more of both for each halving; a gradient of the
/// constraints with each, and its values. Two to four numbers are read from the device each time.
///
/// Source: R. Liu et al., "A value-function-based interior-point method for non-convex bi-level optimization", 2021,
/// Alg. 1; pessimistic and constrained variants: R. Liu et al., "Value-function-based sequential minimization for
/// bi-level optimization", 2021, whose barriers end at the constraints.
#[derive(Debug)]
pub struct Bvfim {
    rates: Rates,
    follow: (usize, Schedule),
    steps: usize,
    relaxation: Relaxation,
    minimiser: Option<Lbfgs>,
    pessimistic: bool,
    /// t of the last step.
    barrier: f64,
    /// The part of its step that x made last.
    share: f64,
}

/// The settings of a [`Bvfim`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BvfimSettings {
    /// Steps of z.
    pub lower_steps: usize,
    /// The step size of z.
    pub lower_rate: Schedule,
    /// Steps of y.
    pub steps: usize,
    /// What decreases to 0.
    pub relaxation: Relaxation,
}

/// The settings of a [`Bvfim`] that decrease to 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relaxation {
    /// m1, the regularisation of the value function.
    pub lower: Schedule,
    /// m2, the margin above it.
    pub room: Schedule,
    /// th, the regularisation of F.
    pub upper: Schedule,
    /// t, the weight of the barriers.
    pub barrier: Schedule,
}

impl Relaxation {
    /// All four as `first * ratio^k`.
    ///
    /// # Errors
    /// If `first` is not finite and positive, or the ratio not in (0, 1].
    pub fn geometric(first: f64, ratio: f64) -> Result<Self, Error> {
        positive("first relaxation", first)?;
        if !(ratio > 0.0 && ratio <= 1.0) {
            return Err(Error::InvalidSetting {
                setting: "ratio of the relaxation",
                found: ratio.to_string(),
                expected: "a number in (0, 1]",
                cure: "0.99 is common",
            });
        }
        let all = Schedule::geometric(first, ratio);
        Ok(Self { lower: all, room: all, upper: all, barrier: all })
    }
}

/// The relative difference up to which two minimum values are equal.
const ROUNDING: f64 = 1e-9;

/// How often a step is halved before it is abandoned.
const HALVINGS: i32 = 40;

/// What is descended, at a point of its domain.
struct Here {
    value: f64,
    /// Its gradient.
    along: Vector,
    /// F, of the barrier problem alone, and f.
    losses: (Option<Loss>, Loss),
    /// s, or none of it.
    slack: f64,
}

/// The relaxation and the data of a step.
#[derive(Clone, Copy)]
struct Now {
    k: usize,
    lower: f64,
    room: f64,
    upper: f64,
    barrier: f64,
    samples: Samples,
}

/// The two problems at an x.
struct Solved {
    z: Vector,
    y: Vector,
    /// What y descended.
    here: Here,
}

/// `steps` steps against the gradient, at most `rate` times as long, each halved until it ends at a point of the domain
/// of `see` where the value is no larger.
fn descend(
    (steps, rate): (usize, f64),
    (mut at, mut here): (Vector, Here),
    project: impl Fn(Vector) -> Vector,
    see: impl Fn(&Vector) -> Option<Here>,
) -> (Vector, Here) {
    let mut length = rate;
    for _ in 0..steps {
        let step = (0..=HALVINGS).find_map(|halvings| {
            let length = length / 2.0_f64.powi(halvings);
            let moved = project(at.axpy(-length, &here.along));
            let found = see(&moved).filter(|found| found.value <= here.value)?;
            Some((length, moved, found))
        });
        // The next step would be the same.
        let Some((found, moved, seen)) = step else { break };
        (length, at, here) = (rate.min(2.0 * found), moved, seen);
    }
    (at, here)
}

/// An evaluation, as a function that is infinite where it gives nothing.
struct Inside<F>(F);

impl<F: Fn(&Vector) -> Option<Here>> Differentiable for Inside<F> {
    fn value(&self, at: &Vector) -> f64 {
        (self.0)(at).map_or(f64::INFINITY, |here| here.value)
    }

    fn gradient(&self, at: &Vector) -> (f64, Vector) {
        (self.0)(at)
            .map_or_else(|| (f64::INFINITY, at.zeros_like()), |here| (here.value, here.along))
    }
}

impl Bvfim {
    /// With the best of the lower solutions.
    ///
    /// # Errors
    /// If there are no steps, or a step size or a relaxation is not positive.
    pub fn new(rates: Rates, settings: BvfimSettings) -> Result<Self, Error> {
        let BvfimSettings { lower_steps, lower_rate, steps, relaxation } = settings;
        let lower_steps = at_least_one("steps of z", lower_steps)?;
        Ok(Self {
            rates,
            follow: (lower_steps, lower_rate.positive("step size of z")?),
            steps: at_least_one("steps of y", steps)?,
            relaxation: Relaxation {
                lower: relaxation.lower.positive("regularisation of the value function")?,
                room: relaxation.room.positive("room above the value function")?,
                upper: relaxation.upper.not_negative("regularisation of F")?,
                barrier: relaxation.barrier.positive("weight of the barriers")?,
            },
            minimiser: None,
            pessimistic: false,
            barrier: 0.0,
            share: 1.0,
        })
    }

    /// With z and y found by a minimiser instead of T_z and T_y gradient steps, and with steps of x that are halved until
    /// the minimum that y attains does not increase, up to a relative rounding of 1e-9. Each trial computes z and y again.
    /// With gradient steps, x diverges once t is far below its step size: where a constraint is active, that minimum has a
    /// curvature of order `1 / t` in x.
    ///
    /// A step is an error if y is kept in a set, or x has momentum.
    pub fn solved_by(mut self, minimiser: Lbfgs) -> Self {
        self.minimiser = Some(minimiser);
        self
    }

    /// With the worst of the lower solutions instead of the best.
    pub fn pessimistic(mut self) -> Self {
        self.pessimistic = true;
        self
    }

    /// z, and y, at the x of `problem`, which has the barriers.
    fn solve(
        &self,
        now: &Now,
        problem: LowerProblem<'_>,
        at: &Iterate<'_>,
    ) -> Result<Solved, Error> {
        let &Now { k, lower, room, upper, barrier, .. } = now;
        let project = |y: Vector| at.project_lower(y);
        let (sign, no_interior) = (self.sign(), Error::NoInterior { step: k + 1 });

        let of_lower = |z: &Vector| {
            let (loss, slope) = problem.gradient(Objective::Lower, z, Wrt::Y);
            let value = loss.read() + lower / 2.0 * z.dot(z);
            let along = slope.into_y().axpy(lower, z);
            let seen = Here { value, along, losses: (None, loss), slack: room };
            value.is_finite().then_some(seen)
        };
        let start = of_lower(&at.y).ok_or_else(|| no_interior.clone())?;
        let steps = (self.follow.0, self.follow.1.at(k));
        let (z, of_z) = self.descend(steps, (at.y.clone(), start), project, of_lower);
        let ceiling = of_z.value + room;

        let inside = |y: &Vector| {
            let (lower_loss, slope) = problem.gradient(Objective::Lower, y, Wrt::Y);
            let slack = ceiling - lower_loss.read();
            if !slack.is_finite() || slack <= 0.0 {
                return None;
            }
            let (upper_loss, along) = problem.gradient(Objective::Upper, y, Wrt::Y);
            let value = sign * upper_loss.read() + upper / 2.0 * y.dot(y) - barrier * slack.ln();
            let along = along.into_y().scale(sign).axpy(upper, y);
            let along = along.axpy(barrier / slack, &slope.into_y());
            Some(Here { value, along, losses: (Some(upper_loss), lower_loss), slack })
        };
        // z is inside, because of what was added to f.
        let start = inside(&z).ok_or(no_interior)?;
        let steps = (self.steps, self.rates.lower.at(k));
        let (y, here) = self.descend(steps, (z.clone(), start), project, inside);
        Ok(Solved { z, y, here })
    }

    /// Halves the step of x from `before`, where the minimum was `value`, until that does not increase.
    fn shorten(
        &mut self,
        now: &Now,
        smooth: &dyn Oracle,
        at: &mut Iterate<'_>,
        (before, value): (&Vector, f64),
    ) {
        let step = at.x.sub(before);
        let mut share = (2.0 * self.share).min(1.0);
        for _ in 0..=HALVINGS {
            let x = before.axpy(share, &step);
            let found = self.solve(now, LowerProblem::new(smooth, &x, now.samples), at);
            if let Ok(found) = found
                && self.sign() * found.here.value <= self.sign() * value + ROUNDING * value.abs()
            {
                (at.x, at.y, self.share) = (x, found.y, share);
                return;
            }
            share /= 2.0;
        }
        at.x = before.clone();
    }

    /// From `start` down what is seen: by the minimiser, or by at most so many steps of this size.
    fn descend(
        &self,
        (steps, rate): (usize, f64),
        start: (Vector, Here),
        project: impl Fn(Vector) -> Vector,
        see: impl Fn(&Vector) -> Option<Here>,
    ) -> (Vector, Here) {
        let Some(minimiser) = &self.minimiser else {
            return descend((steps, rate), start, project, see);
        };
        let found = minimiser.descend(&Inside(&see), &start.0).at;
        see(&found).map_or(start, |here| (found, here))
    }

    /// Of F.
    fn sign(&self) -> f64 {
        if self.pessimistic { -1.0 } else { 1.0 }
    }
}

impl JointMethod for Bvfim {
    fn name(&self) -> &'static str {
        "bvfim"
    }

    fn describe(&self) -> String {
        let Self { rates, follow: (lower_steps, follow), steps, .. } = self;
        let view = if self.pessimistic { ", pessimistic" } else { "" };
        match &self.minimiser {
            None => {
                format!("bvfim({rates}, {lower_steps} steps of z by {follow}, {steps} of y{view})")
            }
            Some(minimiser) => {
                format!("bvfim({rates}, z and y by {}{view})", minimiser.describe())
            }
        }
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        if self.minimiser.is_some() {
            at.refuse_lower_set("bvfim by a minimiser")?;
            at.refuse_upper_momentum("bvfim by a minimiser")?;
        }
        let Relaxation { lower, room, upper, barrier } = self.relaxation;
        let [lower, room, upper, barrier] = [lower, room, upper, barrier].map(|s| s.at(k));
        self.barrier = barrier;
        let now = Now { k, lower, room, upper, barrier, samples: at.draw() };
        let smooth = BarrierOracle::new(at.oracle.clone(), barrier)?;
        let problem = LowerProblem::new(&smooth, &at.x, now.samples);
        let Solved { z, y, here } = self.solve(&now, problem, at)?;
        let upper_x = problem.gradient(Objective::Upper, &y, Wrt::X).1.into_x();
        let gap = |of: &Vector| problem.gradient(Objective::Lower, of, Wrt::X).1.into_x();
        let along_x = upper_x.axpy(self.sign() * barrier / here.slack, &gap(&y).sub(&gap(&z)));
        let Here { value, along: along_y, losses: (upper_loss, lower_loss), .. } = here;
        let upper_loss = upper_loss.expect("the barrier problem has F");
        let before = at.x.clone();
        at.y = y;
        at.move_x(self.rates.upper.at(k), &along_x);
        if self.minimiser.is_some() {
            self.shorten(&now, &smooth, at, (&before, value));
        }
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    /// With lower constraints, the slopes of their barriers are the multipliers.
    fn residual(&self, at: &Iterate<'_>) -> Residual {
        let problem = at.problem(Samples::default());
        match problem.constraints(Objective::Lower) {
            None => at.residual(),
            Some(_) if self.barrier == 0.0 => Residual::UNKNOWN,
            Some(_) => Residual::of_barrier(self.barrier, problem, &at.y),
        }
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_numbers("barrier", &[self.barrier]);
        to.put_numbers("share", &[self.share]);
    }

    fn restore(&mut self, from: &mut Snapshot, _: &Iterate<'_>) -> Result<(), Error> {
        self.barrier = from.take_number("barrier")?;
        self.share = from.take_number("share")?;
        Ok(())
    }
}
