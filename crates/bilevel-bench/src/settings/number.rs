//! Numbers whose range is part of their type: checked wherever they come from.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A number outside the range of its setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, expected {expected}")]
pub struct OutOfRange {
    found: String,
    expected: &'static str,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $number:ty, $expected:literal, $fits:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name($number);

        impl $name {
            /// The number.
            pub const fn get(self) -> $number {
                self.0
            }

            fn checked(number: $number) -> Result<Self, OutOfRange> {
                let fits: fn($number) -> bool = $fits;
                let refuse = || OutOfRange { found: number.to_string(), expected: $expected };
                fits(number).then_some(Self(number)).ok_or_else(refuse)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = OutOfRange;

            fn from_str(text: &str) -> Result<Self, OutOfRange> {
                let refuse = |_| OutOfRange { found: format!("`{text}`"), expected: $expected };
                Self::checked(text.parse().map_err(refuse)?)
            }
        }
    };
}

number!(
    /// A finite number above 0.
    Positive,
    f64,
    "a finite number above 0",
    |number| number.is_finite() && number > 0.0
);
number!(
    /// A finite number of at least 0.
    NonNegative,
    f64,
    "a finite number of at least 0",
    |number| number.is_finite() && number >= 0.0
);
number!(
    /// A share in `[0, 1)`.
    Share,
    f64,
    "a share of at least 0 and below 1",
    |number| (0.0..1.0).contains(&number)
);

macro_rules! through_f64 {
    ($($name:ident)*) => {$(
        impl TryFrom<f64> for $name {
            type Error = OutOfRange;

            fn try_from(number: f64) -> Result<Self, OutOfRange> {
                Self::checked(number)
            }
        }

        impl From<$name> for f64 {
            fn from(number: $name) -> Self {
                number.0
            }
        }
    )*};
}

through_f64!(Positive NonNegative Share);

/// A step size: a finite number above 0, or `auto`, which is replaced by a measured one before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct StepSize(Option<Positive>);

/// Stands for a choice from probes.
pub const AUTO: &str = "auto";

#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(String),
}

impl StepSize {
    /// The number; NaN for `auto`, which every method refuses.
    pub fn get(self) -> f64 {
        self.0.map_or(f64::NAN, Positive::get)
    }
}

impl fmt::Display for StepSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str(AUTO),
        }
    }
}

impl FromStr for StepSize {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        if text.eq_ignore_ascii_case(AUTO) {
            return Ok(Self(None));
        }
        let expected = "a finite number above 0, or auto";
        let refuse = |OutOfRange { found, .. }| OutOfRange { found, expected };
        text.parse().map(|number| Self(Some(number))).map_err(refuse)
    }
}

impl TryFrom<Written> for StepSize {
    type Error = OutOfRange;

    fn try_from(written: Written) -> Result<Self, OutOfRange> {
        match written {
            Written::Number(number) => Ok(Self(Some(Positive::try_from(number)?))),
            Written::Word(word) => word.parse(),
        }
    }
}

impl From<StepSize> for Written {
    fn from(size: StepSize) -> Self {
        size.0.map_or_else(|| Self::Word(AUTO.into()), |number| Self::Number(number.get()))
    }
}

/// How many seeds a command may have.
pub const SEEDS: RangeInclusive<u64> = 1..=1000;

/// How many oracle calls a run may be given.
pub const CALLS: RangeInclusive<u64> = 1..=1 << 32;

/// Reads a number of [`SEEDS`].
pub(crate) fn seeds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    within(SEEDS, from)
}

/// Reads a number of [`CALLS`].
pub(crate) fn calls<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    within(CALLS, from)
}

fn within<'de, D>(range: RangeInclusive<u64>, from: D) -> Result<u64, D::Error>
where
    D: Deserializer<'de>,
{
    let number = u64::deserialize(from)?;
    let (least, most) = range.clone().into_inner();
    let refuse = || D::Error::custom(format!("found {number}, expected {least} to {most}"));
    range.contains(&number).then_some(number).ok_or_else(refuse)
}

/// A count of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Count(usize);

/// The largest count: beyond it no memory and no time would suffice, and sums of a few must not overflow.
const MOST: usize = 1 << 40;

impl Count {
    /// `count`, or 1 if it is 0.
    pub fn at_least_one(count: usize) -> Self {
        Self(count.clamp(1, MOST))
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Count {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let refuse =
            |_| OutOfRange { found: format!("`{text}`"), expected: "a count of at least 1" };
        Self::try_from(text.parse::<u64>().map_err(refuse)?)
    }
}

impl TryFrom<u64> for Count {
    type Error = OutOfRange;

    fn try_from(number: u64) -> Result<Self, OutOfRange> {
        let expected = "a count of at least 1 and at most 2^40";
        let refuse = || OutOfRange { found: number.to_string(), expected };
        let fits = usize::try_from(number).ok().filter(|count| (1..=MOST).contains(count));
        fits.map(Self).ok_or_else(refuse)
    }
}

impl From<Count> for u64 {
    fn from(count: Count) -> Self {
        count.0 as u64
    }
}
