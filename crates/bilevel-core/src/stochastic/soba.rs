//! One direction for each variable.

use super::estimates::{At, Auxiliary, directions};
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Rates, Schedule, Snapshot};

/// `soba`: y, v and x moved at once, each by a direction that is linear in the losses.
///
/// ```text
/// y' = Proj(y - b D_y),   D_y = f_y(x, y; s)
/// v' = v - c D_v,         D_v = f_yy(x, y; s) v + F_y(x, y; t)
/// x' = Proj(x - a D_x),   D_x = f_xy(x, y; s)' v + F_x(x, y; t)
/// ```
///
/// The directions are unbiased; the noise between batches remains unless the step sizes decrease.
///
/// Requires: f strongly convex in y; b and c below `2 / L`. Memory: x, y, v and one linearisation. Cost: one gradient of f, one
/// of F, one product of f.
///
/// Source: M. Dagréou, P. Ablin, S. Vaiter and T. Moreau, "A framework for bilevel optimization that enables
/// stochastic and global variance reduction algorithms", 2022.
#[derive(Clone, Debug)]
pub struct Soba(Auxiliary);

impl Soba {
    /// With the step sizes `rates`.
    pub fn new(rates: Rates) -> Self {
        Self(Auxiliary::new(rates))
    }

    /// With the step size c of v, by default that of y.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_system_rate(self, rate: impl Into<Schedule>) -> Result<Self, Error> {
        Ok(Self(self.0.with_rate(rate.into())?))
    }
}

impl JointMethod for Soba {
    fn name(&self) -> &'static str {
        "soba"
    }

    fn describe(&self) -> String {
        format!("soba({})", self.0)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let samples = at.draw();
        let (now, v) = (At::now(at), self.0.v(at));
        let (lower_loss, lower) = now.lower(&v, &[samples.lower]);
        let (upper_loss, upper) = now.upper(&[samples.upper]);
        let along = directions(lower, upper);
        self.0.advance(k, at, &v, &along);
        let [along_y, along_v, along_x] = along;
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: along_v.norm() })
    }

    fn save(&self, to: &mut Snapshot) {
        self.0.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.0.restore(from, at)
    }
}
