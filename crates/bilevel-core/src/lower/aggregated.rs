//! Descent of both losses at once.

use super::{Adjoint, Dynamics, State, Tangent, Update};
use crate::error::not_negative;
use crate::{Error, Schedule, WeightedSum};

/// The weight of the upper loss in [`Aggregated`], step by step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weight {
    /// `a_k = a`.
    Constant(
        /// a, in `[0, 1]`.
        f64,
    ),
    /// `a_k = c / k`, steps counted from k = 1.
    Decaying(
        /// c, in `[0, 1]`.
        f64,
    ),
    /// `a_k = min(c / k, m)`, steps counted from k = 1: that of BDA's Theorem 2, where `c = 2 g / (1 - b)` may
    /// exceed 1 and `m = 1 - e`.
    Capped {
        /// c, finite and at least 0.
        c: f64,
        /// m, in `[0, 1]`.
        most: f64,
    },
}

impl Weight {
    /// Its value at step `t`, counted from 0.
    pub fn at(self, t: usize) -> f64 {
        match self {
            Self::Constant(a) => a,
            Self::Decaying(c) => c / (t as f64 + 1.0),
            Self::Capped { c, most } => (c / (t as f64 + 1.0)).min(most),
        }
    }
}

/// `aggregated`: a step that descends both losses, where the upper one selects among many lower solutions,
///
/// ```text
/// y' = y - (a_k s_u F_y(x, y) + (1 - a_k) s_l f_y(x, y))
/// ```
///
/// and `pessimistic`, the same with `- a_k s_u F_y`: the worst of the lower solutions. `rad` through them
/// is `bda` and `pbda`; `a_k = 0` is `gd` with the step size `s_l`. Both step sizes may be [`Schedule`]s.
///
/// Requires: F twice differentiable in y too. A step costs a gradient of each loss, and a backward step a
/// product of each; a loss of weight 0 costs nothing.
///
/// Source: [BDA, Eq. 10](https://arxiv.org/abs/2006.04045);
/// [survey, Eqs. 37 and 41](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregated {
    upper_step: Schedule,
    lower_step: Schedule,
    weight: Weight,
    /// 1, or -1 to ascend F.
    sign: f64,
}

impl Aggregated {
    /// With the step sizes `s_u` and `s_l` and the weight `a_k` of the upper loss.
    ///
    /// # Errors
    /// If a step size is not finite and positive, or the weight not in `[0, 1]`.
    pub fn new(
        upper_step: impl Into<Schedule>,
        lower_step: impl Into<Schedule>,
        weight: Weight,
    ) -> Result<Self, Error> {
        let a = match weight {
            Weight::Constant(a) | Weight::Decaying(a) => a,
            Weight::Capped { c, most } => {
                not_negative("weight of the upper loss", c).map(|_| most)?
            }
        };
        if !(0.0..=1.0).contains(&a) {
            return Err(Error::InvalidSetting {
                setting: "weight of the upper loss",
                found: a.to_string(),
                expected: "a number in [0, 1]",
                cure: "a decaying 0.5 is common",
            });
        }
        Ok(Self {
            upper_step: upper_step.into().positive("step size of the upper loss")?,
            lower_step: lower_step.into().positive("lower step size")?,
            weight,
            sign: 1.0,
        })
    }

    /// The same, ascending the upper loss.
    ///
    /// # Errors
    /// As [`Aggregated::new`].
    pub fn pessimistic(
        upper_step: impl Into<Schedule>,
        lower_step: impl Into<Schedule>,
        weight: Weight,
    ) -> Result<Self, Error> {
        Ok(Self { sign: -1.0, ..Self::new(upper_step, lower_step, weight)? })
    }
}

impl Dynamics for Aggregated {
    fn describe(&self) -> String {
        let name = if self.sign > 0.0 { "aggregated" } else { "pessimistic" };
        let weight = match self.weight {
            Weight::Constant(a) => a.to_string(),
            Weight::Decaying(c) => format!("{c}/k"),
            Weight::Capped { c, most } => format!("min({c}/k, {most})"),
        };
        let (upper, lower) = (self.upper_step, self.lower_step);
        format!("{name}(step sizes {upper} up, {lower} low, weight {weight})")
    }

    fn objective(&self, t: usize) -> WeightedSum {
        let a = self.weight.at(t);
        let (upper, lower) = (self.sign * self.upper_step.at(t), self.lower_step.at(t));
        WeightedSum { upper: a * upper, lower: (1.0 - a) * lower }
    }

    // The step sizes are in the objective: what remains is a step of size 1.
    fn step(&self, at: &Update<'_>) -> State {
        State { y: at.state.y.sub(at.gradient()), memory: Vec::new() }
    }

    fn tangent(&self, _: &Update<'_>, along: Tangent<'_>) -> State {
        State { y: along.state.y.sub(along.gradient), memory: Vec::new() }
    }

    fn adjoint(&self, _: &Update<'_>, adjoint: State) -> Adjoint {
        Adjoint { x: None, gradient: adjoint.y.scale(-1.0), state: adjoint }
    }
}
