//! One step of y that shows the effect of x, and is then taken again.

use super::{Iterate, JointMethod, Seen};
use crate::error::at_least_one;
use crate::{Error, Objective, Rates, Snapshot, Wrt};

/// `virtual-step`: x sees its effect through one step of all of y; y then repeats its step at the new x.
///
/// ```text
/// z  = y - a f_y(x, y)
/// x' = x - b (F_x(x, z) - a f_xy(x, y)' F_y(x, z))
/// y' = y - a f_y(x', y)
/// ```
///
/// This is how networks are trained that weight their samples or correct their labels, such as Meta-Weight-Net and MLC;
/// [`NsGame`](crate::NsGame) is the same through one step of the last layer, without the second gradient of f. A set of
/// y is refused: the formula has no projection. Cost: two gradients of f, one of F in x and y, one product of f.
///
/// [`truncated`](Self::truncated) steps further ahead and sees x through the last of these steps. Each step before it
/// costs one gradient of f.
///
/// Source: M. Ren et al., "Learning to reweight examples for robust deep learning", 2018, Alg. 1; J. Shu et al.,
/// "Meta-Weight-Net: learning an explicit mapping for sample weighting", 2019, Alg. 1; A. Shaban et al., "Truncated
/// back-propagation for bilevel optimization", 2019.
#[derive(Clone, Copy, Debug)]
pub struct VirtualStep {
    rates: Rates,
    /// T, of which the last is differentiated.
    steps: usize,
}

impl VirtualStep {
    /// With the step sizes `rates`.
    pub fn new(rates: Rates) -> Self {
        Self { rates, steps: 1 }
    }

    /// Truncated back-propagation: T = `steps` steps ahead on the same batch, of which x sees the last.
    ///
    /// ```text
    /// z_0 = y,  z_{t+1} = z_t - a f_y(x, z_t)                                T times
    /// x' = x - b (F_x(x, z_T) - a f_xy(x, z_{T-1})' F_y(x, z_T))
    /// y' = y - a f_y(x', y)
    /// ```
    ///
    /// # Errors
    /// If there are no steps.
    pub fn truncated(rates: Rates, steps: usize) -> Result<Self, Error> {
        Ok(Self { rates, steps: at_least_one("steps ahead", steps)? })
    }
}

impl JointMethod for VirtualStep {
    fn name(&self) -> &'static str {
        "virtual-step"
    }

    fn describe(&self) -> String {
        match self.steps {
            1 => format!("virtual-step({})", self.rates),
            steps => format!("virtual-step({}, the last of {steps} steps)", self.rates),
        }
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        at.refuse_lower_set("virtual-step")?;
        let rate = self.rates.lower.at(k);
        let samples = at.draw();
        let problem = at.problem(samples);
        let mut before = at.y.clone();
        for _ in 1..self.steps {
            let slope = problem.gradient(Objective::Lower, &before, Wrt::Y).1.into_y();
            before = before.axpy(-rate, &slope);
        }
        let (_, slope, mixed) = problem.gradient_and_mixed(&before);
        let ahead = before.axpy(-rate, &slope);
        let (upper_loss, upper) = problem.gradient(Objective::Upper, &ahead, Wrt::Both);
        let (direct, weight) = upper.into_both();
        let along_x = direct.axpy(-rate, &mixed(&weight));
        at.move_x(self.rates.upper.at(k), &along_x);
        let (lower_loss, sides) = at.problem(samples).gradient(Objective::Lower, &at.y, Wrt::Y);
        let along_y = sides.into_y();
        at.move_y(rate, &along_y);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, _: &mut Snapshot) {}
}
