//! `--method auto` and `--step-size auto`: what [`suggest_on`] chooses among the methods that an experiment offers.
//!
//! The choice is made before a run begins, once for all its seeds. `settings.toml` stores the choice, and a run is
//! resumed and repeated with it.

use std::fmt;

use bilevel_core::catalogue;
use bilevel_core::suggest::{Request, Suggestion, suggest_on};
use bilevel_core::{Oracle, Start};
use bilevel_program::Vector;
use toml::{Table, Value};

use crate::error::BenchError;
use crate::settings::Offered;

/// The choice.
pub struct Auto {
    /// The suggestion.
    pub suggestion: Suggestion,
    /// The method, with the settings that differ from those of the run.
    pub method: String,
    /// How many problems like that of the probes a step of x solves.
    pub problems: u64,
}

impl Auto {
    /// The choice among the methods `M` for a problem at its start, given the settings `of_run` of the run.
    ///
    /// # Errors
    /// If none of them fits.
    pub fn among<M: Offered>(
        oracle: &dyn Oracle,
        (x, y): (&Vector, &Vector),
        (start, seed): (Start, u64),
        of_run: &catalogue::Settings,
    ) -> Result<Self, BenchError> {
        let offered: Vec<String> = M::all().iter().map(M::name).collect();
        let methods = catalogue::all().map(|entry| entry.name);
        let methods = methods.filter(|name| offered.iter().any(|offer| offer == name)).collect();
        let request = Request { methods: Some(methods), start, seed, ..Request::default() };
        let suggestion = suggest_on(oracle, x, y, &request)?;
        let method = suggestion.name_beside(of_run);
        Ok(Self { suggestion, method, problems: 1 })
    }

    /// The oracle calls of the probes.
    pub fn probes(&self) -> u64 {
        self.suggestion.measured.cost.total()
    }

    /// The expected cost of a run with these settings, in words; none if it is not known in advance.
    pub fn forecast(&self, settings: &Table) -> Option<String> {
        let number = |key| settings.get(key).and_then(Value::as_integer);
        let calls = match (number("calls"), number("upper-steps")) {
            (Some(calls), _) => u64::try_from(calls).ok()?,
            (None, Some(steps)) => {
                let each = self.suggestion.calls?.saturating_mul(self.problems);
                u64::try_from(steps).ok()?.saturating_mul(each)
            }
            (None, None) => return None,
        };
        Some(self.suggestion.forecast(calls))
    }
}

impl fmt::Display for Auto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.suggestion.fmt(f)
    }
}
