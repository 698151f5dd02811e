//! A log-barrier on the regularised value function.

use bilevel_program::Vector;

use super::{Iterate, JointMethod, Seen};
use crate::constrained::Residual;
use crate::error::{at_least_one, positive};
use crate::{Constraints, Error, Loss, Objective, Oracle, Rates, Samples, Schedule, Snapshot, Wrt};

/// `bvfim`: interior points of `f(x, y) < f*(x)`, where `f*(x) = min_z f(x, z) + m1/2 norm(z)^2 + m2`; the
/// lower level may have many solutions, and none of them needs to be isolated.
///
/// ```text
/// z_T by T_z steps of   z' = z - c (f_y(x, z) + m1 z)                                  from y
/// y_T by T_y steps of   y' = y - a (F_y(x, y) + th y + t f_y(x, y) / s)                 from z
/// x' = x - b (F_x(x, y) + t (f_x(x, y) - f_x(x, z)) / s),   s = f*(x) - f(x, y) > 0
/// ```
///
/// m1, m2, th and t fall to 0 from step to step. A step that would leave the interior, or raise what it
/// descends, is halved until it does neither. Pessimistic: y ascends F among the lower solutions, all terms beside F with the opposite sign.
/// Cost: `T_z + T_y + 3` gradients of f, `T_y + 2` of F, and at most one more of both for each halving; four
/// numbers are read from the device each time.
///
/// Source: R. Liu et al., "A value-function-based interior-point method for non-convex bi-level
/// optimization", 2021, Alg. 1; pessimistic and constrained variants: R. Liu et al., "Value-function-based
/// sequential minimization for bi-level optimization", 2021.
#[derive(Debug)]
pub struct Bvfim {
    rates: Rates,
    follow: (usize, Schedule),
    steps: usize,
    relaxation: Relaxation,
    pessimistic: bool,
    constraints: Option<Box<dyn Constraints>>,
}

/// The numbers of a [`Bvfim`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BvfimSettings {
    /// Steps of z.
    pub lower_steps: usize,
    /// The step size of z.
    pub lower_rate: Schedule,
    /// Steps of y.
    pub steps: usize,
    /// What falls to 0.
    pub relaxation: Relaxation,
}

/// The numbers of a [`Bvfim`] that fall to 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Relaxation {
    /// m1, the regularisation of the value function.
    pub lower: Schedule,
    /// m2, the room above it.
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

/// How often a step is halved before it is given up.
const HALVINGS: usize = 40;

/// What the barrier problem is at a point of its interior.
struct Inside {
    upper_loss: Loss,
    lower_loss: Loss,
    /// s
    slack: f64,
    /// The barrier problem's value.
    value: f64,
    upper_y: Vector,
    lower_y: Vector,
    /// `sum_j grad_y h_j / -h_j`
    constraints: Option<(Vector, Vector)>,
}

impl Bvfim {
    /// With the best of the lower solutions, and no constraints.
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
            pessimistic: false,
            constraints: None,
        })
    }

    /// With the worst of the lower solutions in place of the best.
    pub fn pessimistic(mut self) -> Self {
        self.pessimistic = true;
        self
    }

    /// With the constraints `h(x, y) < 0` on y, by a barrier `-t sum_j log(-h_j)`. Small steps of x: at an x
    /// whose lower solutions violate h, the interior vanishes with m1 and m2, which is an error.
    pub fn with_constraints(mut self, h: impl Constraints + 'static) -> Self {
        self.constraints = Some(Box::new(h));
        self
    }

    /// Of F.
    fn sign(&self) -> f64 {
        if self.pessimistic { -1.0 } else { 1.0 }
    }

    /// The barrier problem at y, if y is inside.
    fn inside(
        &self,
        at: &Iterate<'_>,
        samples: Samples,
        y: &Vector,
        ceiling: f64,
        [upper, barrier]: [f64; 2],
    ) -> Option<Inside> {
        let problem = at.problem(samples);
        let (lower_loss, lower) = problem.gradient(Objective::Lower, y, Wrt::Y);
        let slack = ceiling - lower_loss.read();
        if !slack.is_finite() || slack <= 0.0 {
            return None;
        }
        let mut logs = slack.ln();
        let constraints = match &self.constraints {
            Some(h) => {
                let weigh = |h: &[f64]| h.iter().map(|h| -1.0 / h).collect();
                let pulled = h.pull_back(&at.x, y, &mut { weigh });
                if pulled.values.iter().any(|h| !h.is_finite() || *h >= 0.0) {
                    return None;
                }
                logs += pulled.values.iter().map(|h| (-h).ln()).sum::<f64>();
                Some((pulled.x, pulled.y))
            }
            None => None,
        };
        let (upper_loss, sides) = problem.gradient(Objective::Upper, y, Wrt::Y);
        let (upper_y, lower_y) = (sides.into_y(), lower.into_y());
        let value = self.sign() * upper_loss.read() + upper / 2.0 * y.dot(y) - barrier * logs;
        Some(Inside { upper_loss, lower_loss, slack, value, upper_y, lower_y, constraints })
    }
}

impl JointMethod for Bvfim {
    fn name(&self) -> &'static str {
        "bvfim"
    }

    fn describe(&self) -> String {
        let Self { rates, follow: (lower_steps, follow), steps, .. } = self;
        let view = if self.pessimistic { ", pessimistic" } else { "" };
        let constraints = if self.constraints.is_some() { ", h < 0" } else { "" };
        format!(
            "bvfim({rates}, {lower_steps} steps of z by {follow}, {steps} of y{view}{constraints})"
        )
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.constraints.as_ref().map_or(Ok(()), |h| h.check(oracle))
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let Relaxation { lower, room, upper, barrier } = self.relaxation;
        let [lower, room, upper, barrier] = [lower, room, upper, barrier].map(|s| s.at(k));
        let samples = at.draw();
        let (sign, weights) = (self.sign(), [upper, barrier]);

        let mut z = at.y.clone();
        for _ in 0..self.follow.0 {
            let slope = at.problem(samples).gradient(Objective::Lower, &z, Wrt::Y).1.into_y();
            z = at.project_lower(z.axpy(-self.follow.1.at(k), &slope.axpy(lower, &z)));
        }
        let (value, value_x) = at.problem(samples).gradient(Objective::Lower, &z, Wrt::X);
        let ceiling = value.read() + lower / 2.0 * z.dot(&z) + room;

        // z lies below the ceiling by what was added; with constraints, y may be inside where z is not.
        let starts = [z.clone(), at.y.clone()];
        let start = starts.into_iter().find_map(|y| {
            let inside = self.inside(at, samples, &y, ceiling, weights)?;
            Some((y, inside))
        });
        let Some((mut y, mut here)) = start else {
            return Err(Error::NoInterior { step: k + 1 });
        };
        let along = |here: &Inside, y: &Vector| {
            let along = here.upper_y.scale(sign).axpy(upper, y);
            let along = along.axpy(barrier / here.slack, &here.lower_y);
            match &here.constraints {
                Some((_, pushed)) => along.axpy(barrier, pushed),
                None => along,
            }
        };
        for _ in 0..self.steps {
            let against = along(&here, &y);
            let mut rate = self.rates.lower.at(k);
            let mut found = false;
            for _ in 0..HALVINGS {
                let moved = at.project_lower(y.axpy(-rate, &against));
                let inside = self.inside(at, samples, &moved, ceiling, weights);
                if let Some(inside) = inside.filter(|inside| inside.value <= here.value) {
                    (y, here, found) = (moved, inside, true);
                    break;
                }
                rate /= 2.0;
            }
            if !found {
                // The next step would try the same.
                break;
            }
        }

        let problem = at.problem(samples);
        let upper_x = problem.gradient(Objective::Upper, &y, Wrt::X).1.into_x();
        let lower_x = problem.gradient(Objective::Lower, &y, Wrt::X).1.into_x();
        let gap = lower_x.sub(&value_x.into_x());
        let mut along_x = upper_x.axpy(sign * barrier / here.slack, &gap);
        if let Some((pushed, _)) = &here.constraints {
            along_x = along_x.axpy(sign * barrier, pushed);
        }
        let along_y = along(&here, &y);
        at.y = y;
        at.move_x(self.rates.upper.at(k), &along_x);
        let Inside { upper_loss, lower_loss, .. } = here;
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn residual(&self, at: &Iterate<'_>) -> Residual {
        let values = self.constraints.iter().map(|h| h.values(&at.x, &at.y));
        values.fold(at.residual(), |found, values| found.with_violation(&values, 0))
    }

    fn save(&self, _: &mut Snapshot) {}
}
