//! Recursive estimates of the directions of `soba`.

use bilevel_program::Vector;

use super::estimates::{At, Auxiliary, all, corrected, directions};
use crate::error::at_least_one;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Objective, Rates, Schedule, Snapshot};

/// `srba`: the directions of [`Soba`](super::Soba), estimated recursively as in SARAH.
///
/// ```text
/// u = (y, v, x),   D(u; s, t) = (f_y, f_yy v + F_y, f_xy' v + F_x) on the batches s and t
/// every P steps:  d = D(u) on all batches
/// otherwise:      d += D(u; s, t) - D(u_before; s, t)
/// u' = u - (b, c, a) d,   x and y projected
/// ```
///
/// Converges with constant step sizes, without a noise ball.
///
/// Requires: f strongly convex in y; step sizes below those of `soba`. Memory: x, y and v twice, and their
/// directions. Cost: two gradients of f, two of F, two products of f; every P steps n gradients of f, m of
/// F, n products of f instead, n and m being the batches of f and F.
///
/// Source: M. Dagréou, T. Moreau, S. Vaiter and P. Ablin, "A lower bound and a near-optimal algorithm for
/// bilevel empirical risk minimization", 2024.
#[derive(Clone, Debug)]
pub struct Srba {
    auxiliary: Auxiliary,
    period: usize,
    before: Option<Before>,
}

/// The last step: where it was taken, and its directions.
#[derive(Clone, Debug)]
struct Before {
    x: Vector,
    y: Vector,
    v: Vector,
    along: [Vector; 3],
}

impl Srba {
    /// With the step sizes `rates` and all batches every `period` steps.
    ///
    /// # Errors
    /// If `period` is 0.
    pub fn new(rates: Rates, period: usize) -> Result<Self, Error> {
        let period = at_least_one("period", period)?;
        Ok(Self { auxiliary: Auxiliary::new(rates), period, before: None })
    }

    /// With the step size c of v, by default that of y.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_system_rate(mut self, rate: impl Into<Schedule>) -> Result<Self, Error> {
        self.auxiliary = self.auxiliary.with_rate(rate.into())?;
        Ok(self)
    }
}

impl JointMethod for Srba {
    fn name(&self) -> &'static str {
        "srba"
    }

    fn describe(&self) -> String {
        format!("srba({}, all batches every {} steps)", self.auxiliary, self.period)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let before = self.before.take().filter(|_| !k.is_multiple_of(self.period));
        let (lower, upper) = match before {
            Some(_) => {
                let samples = at.draw();
                (vec![samples.lower], vec![samples.upper])
            }
            None => (all(at, Objective::Lower), all(at, Objective::Upper)),
        };
        let on_samples = |point: At<'_>, v: &Vector| {
            let (lower_loss, lower) = point.lower(v, &lower);
            let (upper_loss, upper) = point.upper(&upper);
            (upper_loss, lower_loss, directions(lower, upper))
        };
        let v = self.auxiliary.v(at);
        let (upper_loss, lower_loss, mut along) = on_samples(At::now(at), &v);
        if let Some(Before { x, y, v, along: memory }) = before {
            let (_, _, old) = on_samples(At { oracle: &at.oracle, x: &x, y: &y }, &v);
            along = corrected([0.0; 3], &memory, &along, &old);
        }
        let (x, y) = (at.x.clone(), at.y.clone());
        self.auxiliary.advance(k, at, &v, &along);
        self.before = Some(Before { x, y, v, along: along.clone() });
        let [along_y, along_v, along_x] = along;
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: along_v.norm() })
    }

    fn save(&self, to: &mut Snapshot) {
        self.auxiliary.save(to);
        if let Some(Before { x, y, v, along: [along_y, along_v, along_x] }) = &self.before {
            to.put_vectors("before", [x, y, v, along_y, along_v, along_x]);
        }
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.auxiliary.restore(from, at)?;
        self.before = None;
        if from.has("before") {
            let like = [&at.x, &at.y, &at.y, &at.y, &at.y, &at.x];
            let [x, y, v, along_y, along_v, along_x] = from.take_array("before", like)?;
            self.before = Some(Before { x, y, v, along: [along_y, along_v, along_x] });
        }
        Ok(())
    }
}
