use std::fmt;
use std::str::FromStr;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};

use crate::{Adam, Aggregated, Descent, Error, Gd, Plan, Rates, Schedule, Weight};

/// The lower steps of a method that offers a choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LowerDynamics {
    /// Gradient descent.
    #[default]
    Gd,
    /// Adam, its b1 the momentum.
    Adam,
}

/// The name, as in files.
impl fmt::Display for LowerDynamics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for LowerDynamics {
    type Err = serde::de::value::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::deserialize(name.into_deserializer())
    }
}

/// The settings of all methods, each under one name. A method ignores the settings that it does not read:
/// [`Entry::reads`](super::Entry::reads).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Lower steps T of a hypergradient, or between two steps of x.
    pub lower_steps: usize,
    /// Step size of y; below the inverse of the curvature of f.
    pub step_size: f64,
    /// The lower steps of `rad`, `trad` and `first-order`.
    pub dynamics: LowerDynamics,
    /// The number of these steps that y keeps; the rest only look ahead. 0: y keeps all, and each descent starts
    /// afresh.
    pub kept_steps: usize,
    /// Step size of x, for methods that move x themselves.
    pub learning_rate: f64,
    /// Lower states that `rad` keeps for the way back, the others being recomputed; 0 for all of them.
    pub stored_states: usize,
    /// The number of last lower steps through which `trad` goes back.
    pub truncated: usize,
    /// Weight of F in the first lower step of `bda`; it decreases as `1 / k`.
    pub aggregation: f64,
    /// Maximal number of iterations of a linear solver; columns of `nystrom`; terms of a series.
    pub solver_iterations: usize,
    /// The relative residual at which a linear solver stops.
    pub tolerance: f64,
    /// Damping `d` of a linear system: `(f_yy + d I) q = F_y`.
    pub damping: f64,
    /// Whether a linear solver starts from its last solution.
    pub warm_start: bool,
    /// Steps between two full passes, for methods that make them; of the order of the number of batches.
    pub period: usize,
    /// The size of the perturbations of x under which proxies learn the response.
    pub perturbation: f64,
    /// The weight `mu` of `mu/2 norm(y - x)^2` in `imaml`, and the scale of `reptile`.
    pub proximity: f64,
    /// Momentum of the lower steps of `reversible-rad`, and b1 of `adam`.
    pub momentum: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lower_steps: 100,
            step_size: 0.1,
            dynamics: LowerDynamics::default(),
            kept_steps: 0,
            learning_rate: 0.1,
            stored_states: 0,
            truncated: 25,
            aggregation: 0.5,
            solver_iterations: 50,
            tolerance: 1e-3,
            damping: 0.0,
            warm_start: false,
            period: 8,
            perturbation: 0.5,
            proximity: 1.0,
            momentum: 0.9,
        }
    }
}

impl Settings {
    /// T steps of gradient descent.
    ///
    /// # Errors
    /// If a setting is outside its range.
    pub fn descent(&self) -> Result<Descent, Error> {
        Descent::new(Gd::new(self.step_size)?, self.lower_steps)
    }

    /// T steps of the dynamics that was chosen.
    ///
    /// # Errors
    /// If a setting is outside its range.
    pub(super) fn chosen_descent(&self) -> Result<Descent, Error> {
        match self.dynamics {
            LowerDynamics::Gd => self.descent(),
            LowerDynamics::Adam => {
                let adam = Adam::new(self.step_size)?.with_momentum(self.momentum)?;
                Descent::new(adam, self.lower_steps)
            }
        }
    }

    /// Which lower states are kept for the way back.
    pub fn plan(&self) -> Plan {
        if self.stored_states == 0 { Plan::default() } else { Plan::Binomial(self.stored_states) }
    }

    /// T steps that descend both losses, as in `bda`.
    ///
    /// # Errors
    /// If a setting is outside its range.
    pub fn aggregated(&self) -> Result<Descent, Error> {
        let weight = Weight::Decaying(self.aggregation);
        Descent::new(Aggregated::new(self.step_size, self.step_size, weight)?, self.lower_steps)
    }

    /// Both step sizes, scaled.
    pub(super) fn rates(&self, upper: f64, lower: f64) -> Result<Rates, Error> {
        Rates::new(upper * self.learning_rate, lower * self.step_size)
    }

    /// The same with half the step size of x: y is not solved for between two of its steps.
    pub(super) fn slow(&self, upper: f64, lower: f64) -> Result<Rates, Error> {
        Rates::new(upper * self.learning_rate / 2.0, lower * self.step_size)
    }

    /// Both as `1 / sqrt(k + 1)`: for penalties that grow as the inverse.
    pub(super) fn falling(&self, upper: f64) -> Result<Rates, Error> {
        Rates::new(Schedule::power(upper, 0.5), Schedule::power(0.4 * self.step_size, 0.5))
    }
}

/// Penalties that grow as `sqrt(k + 1)`.
pub(super) fn growing(first: f64) -> Schedule {
    Schedule::power(first, -0.5)
}
