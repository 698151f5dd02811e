//! Numbers that change from step to step.

use crate::Error;
use crate::error::{not_negative, positive};

/// A number for each step t, counted from 0: a step size, a penalty, a tolerance. A plain `f64` is the
/// same at every step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// `c`
    Constant(
        /// c
        f64,
    ),
    /// `c / (t + 1)^p`
    Power {
        /// c
        first: f64,
        /// p
        exponent: f64,
    },
    /// `c r^t`
    Geometric {
        /// c
        first: f64,
        /// r
        ratio: f64,
    },
    /// `c r^m`, where m counts the two steps reached so far: at `at[0]` it drops to `c r`, at `at[1]` to `c r^2`
    Milestones {
        /// c
        first: f64,
        /// r
        ratio: f64,
        /// The two steps, counted from 0
        at: [usize; 2],
    },
    /// `c + d t`
    Linear {
        /// c
        first: f64,
        /// d
        increment: f64,
    },
}

impl Schedule {
    /// `first / (t + 1)^exponent`.
    pub fn power(first: f64, exponent: f64) -> Self {
        Self::Power { first, exponent }
    }

    /// `first * ratio^t`.
    pub fn geometric(first: f64, ratio: f64) -> Self {
        Self::Geometric { first, ratio }
    }

    /// `first`, multiplied by `ratio` at each of two steps: the usual schedule of networks.
    pub fn milestones(first: f64, ratio: f64, at: [usize; 2]) -> Self {
        Self::Milestones { first, ratio, at }
    }

    /// `first + increment * t`.
    pub fn linear(first: f64, increment: f64) -> Self {
        Self::Linear { first, increment }
    }

    /// Its value at step t.
    pub fn at(&self, t: usize) -> f64 {
        let steps = t as f64;
        match *self {
            Self::Constant(c) => c,
            Self::Power { first, exponent } => first / (steps + 1.0).powf(exponent),
            Self::Geometric { first, ratio } => first * ratio.powf(steps),
            Self::Milestones { first, ratio, at } => {
                let passed = at.iter().filter(|&&step| t >= step).count();
                first * ratio.powi(passed as i32)
            }
            Self::Linear { first, increment } => first + increment * steps,
        }
    }

    /// This schedule, if all its values are finite and positive, apart from overflow or underflow as t grows.
    pub(crate) fn positive(self, setting: &'static str) -> Result<Self, Error> {
        match self {
            Self::Constant(c) => positive(setting, c)?,
            Self::Power { first, exponent } => {
                finite(setting, exponent)?;
                positive(setting, first)?
            }
            Self::Geometric { first, ratio } | Self::Milestones { first, ratio, .. } => {
                positive(setting, ratio)?;
                positive(setting, first)?
            }
            Self::Linear { first, increment } => {
                not_negative(setting, increment)?;
                positive(setting, first)?
            }
        };
        Ok(self)
    }

    /// This schedule, if it is positive as by [`Schedule::positive`], or 0 at every step.
    pub(crate) fn not_negative(self, setting: &'static str) -> Result<Self, Error> {
        if self == Self::Constant(0.0) { Ok(self) } else { self.positive(setting) }
    }
}

fn finite(setting: &'static str, exponent: f64) -> Result<f64, Error> {
    if exponent.is_finite() {
        return Ok(exponent);
    }
    Err(Error::InvalidSetting {
        setting,
        found: format!("a power with the exponent {exponent}"),
        expected: "a finite exponent",
        cure: "1/2 is common",
    })
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant(c) => write!(f, "{c}"),
            Self::Power { first, exponent } => write!(f, "{first}/(t+1)^{exponent}"),
            Self::Geometric { first, ratio } => write!(f, "{first}*{ratio}^t"),
            Self::Milestones { first, ratio, at: [a, b] } => {
                write!(f, "{first}, times {ratio} at {a} and at {b}")
            }
            Self::Linear { first, increment } => write!(f, "{first}+{increment}t"),
        }
    }
}

/// The step sizes of both variables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// That of x.
    pub upper: Schedule,
    /// That of y, and of other variables that follow y.
    pub lower: Schedule,
}

impl Rates {
    /// `upper` for x, `lower` for y.
    ///
    /// # Errors
    /// If one is not finite and positive.
    pub fn new(upper: impl Into<Schedule>, lower: impl Into<Schedule>) -> Result<Self, Error> {
        Ok(Self {
            upper: upper.into().positive("upper step size")?,
            lower: lower.into().positive("lower step size")?,
        })
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "x by {}, y by {}", self.upper, self.lower)
    }
}
