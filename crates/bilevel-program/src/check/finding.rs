//! One measurement of a check.

/// An error, and how much of it rounding explains: both relative.
#[derive(Clone, Copy, Debug)]
pub(super) struct Error {
    pub measured: f64,
    pub rounding: f64,
}

impl Error {
    /// Of an absolute error, relative to `scale`, which is 0 only if everything compared is 0.
    pub fn relative(error: f64, rounding: f64, scale: f64) -> Self {
        if scale == 0.0 {
            return Self { measured: 0.0, rounding: 0.0 };
        }
        Self { measured: error / scale, rounding: rounding / scale }
    }

    /// The larger one beyond rounding; NaN counts as the largest.
    pub fn or_worse(self, other: Self) -> Self {
        let [mine, others] = [self, other].map(|of| of.measured - of.rounding);
        if mine >= others || mine.is_nan() { self } else { other }
    }
}

/// One line of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was tested.
    pub test: &'static str,
    /// The path of the only parameter that was moved; `None` if all were.
    pub parameter: Option<String>,
    /// The relative error, a count, or the order of a Taylor remainder (infinite where nothing remains).
    pub measured: f64,
    /// How much of an error rounding explains, relative as well; 0 for a count or an order.
    pub rounding: f64,
    /// The bound.
    pub bound: Bound,
}

/// The bound of a measurement. NaN satisfies none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// An error, beyond what rounding explains.
    AtMost(f64),
    /// A count or an order.
    AtLeast(f64),
}

impl Finding {
    pub(super) fn error(
        test: &'static str,
        parameter: &str,
        Error { measured, rounding }: Error,
        tolerance: f64,
    ) -> Self {
        let parameter = (!parameter.is_empty()).then(|| parameter.to_owned());
        Self { test, parameter, measured, rounding, bound: Bound::AtMost(tolerance) }
    }

    /// Whether the measurement is within its bound.
    pub fn is_ok(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.measured <= bound + self.rounding,
            Bound::AtLeast(bound) => self.measured >= bound,
        }
    }
}
