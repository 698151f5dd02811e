//! One measurement of a check.

/// One line of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was tested.
    pub test: &'static str,
    /// The path of the one parameter that was moved; `None` where all were.
    pub parameter: Option<String>,
    /// The relative error, a count, or the order of a Taylor remainder (infinite where nothing remains).
    pub measured: f64,
    /// What was asked of it.
    pub bound: Bound,
}

/// What is asked of a measurement. NaN satisfies nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// An error.
    AtMost(f64),
    /// A count or an order.
    AtLeast(f64),
}

impl Finding {
    pub(super) fn error(
        test: &'static str,
        parameter: &str,
        measured: f64,
        tolerance: f64,
    ) -> Self {
        let parameter = (!parameter.is_empty()).then(|| parameter.to_owned());
        Self { test, parameter, measured, bound: Bound::AtMost(tolerance) }
    }

    /// Whether the measurement is within its bound.
    pub fn is_ok(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.measured <= bound,
            Bound::AtLeast(bound) => self.measured >= bound,
        }
    }
}
