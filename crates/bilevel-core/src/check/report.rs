//! What the check measured.

use std::fmt;

use super::{Bound, Finding};
use crate::{Cost, Status};

/// What [`check_hypergradient`](crate::check_hypergradient) measured. Its `Display` is a table that says, for each line
/// out of its bound, where to look.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a report that nobody reads checks nothing: call `assert_ok`"]
pub struct HypergradientReport {
    /// The method with its settings.
    pub method: String,
    /// The status of its first hypergradient.
    pub status: Status,
    /// The oracle calls of its first hypergradient.
    pub cost: Cost,
    /// Every measurement.
    pub findings: Vec<Finding>,
}

impl HypergradientReport {
    pub(super) fn add(&mut self, test: &'static str, measured: f64, bound: Bound) {
        self.findings.push(Finding { test, parameter: None, measured, rounding: 0.0, bound });
    }

    pub(super) fn at_most(&mut self, test: &'static str, measured: f64, bound: f64) {
        self.add(test, measured, Bound::AtMost(bound));
    }

    /// Whether all measurements are within their bounds.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(Finding::is_ok)
    }

    /// The lines that are out of their bounds.
    pub fn wrong(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.is_ok())
    }

    /// Panics with the table if a measurement is out of its bounds.
    ///
    /// # Panics
    /// Only then.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert!(self.is_ok(), "the method does not do what it is for\n{self}");
    }
}

/// Where to look when a line is wrong.
fn cure(test: &str) -> &str {
    match test {
        "shapes" => {
            "build vectors by the oracle's layouts; `differentiates_start` says if there is a start"
        }
        "finite" => "return an error or a status with numbers that are not finite",
        "gradient" => "a term is missing, or taken at another point than the reference's",
        "start" => "carry the adjoint through to y_0, through `Dynamics::start_adjoint` too",
        "upper loss" => "report F at the x and the lower point that are returned",
        "status" => "the method says itself that it went wrong; its words are above",
        "fresh" => "seed random numbers by a setting, and read no clock and no global state",
        "again" => {
            "a call depends on those before it: say so by `Reference::with_state`, or reset it"
        }
        "arguments" => "x and y belong to the caller: compute on copies",
        "calls" => "evaluate losses by the oracle of the stage alone, which counts them",
        "products" => "a first-order method requests only gradients from the oracle",
        "divergence" => {
            "run the lower level by `Descent`, which names a divergence, or check the numbers"
        }
        _ => "",
    }
}

/// A count unchanged, an error as a power of ten.
fn short(measured: f64) -> String {
    if measured.fract() == 0.0 { measured.to_string() } else { format!("{measured:.1e}") }
}

impl fmt::Display for HypergradientReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |finding: &Finding| finding.parameter.clone().unwrap_or("(all)".into());
        let width = self.findings.iter().map(|x| path(x).len()).max().unwrap_or(0).max(8);
        writeln!(f, "{}: {}", self.method, self.status)?;
        writeln!(f, "{} oracle calls", self.cost.total())?;
        let columns = ("test", "variable", "measured", "rounding");
        let (test, variable, measured, rounding) = columns;
        writeln!(f, "{test:<12}{variable:<width$}  {measured:>10}  {rounding:>8}  wanted")?;
        for finding in &self.findings {
            write!(f, "{:<12}{:<width$}  ", finding.test, path(finding))?;
            match finding.bound {
                Bound::AtMost(bound) => {
                    let rounding = match finding.rounding {
                        0.0 => String::new(),
                        rounding => short(rounding),
                    };
                    let measured = short(finding.measured);
                    write!(f, "{measured:>10}  {rounding:>8}  <= {}", short(bound))?;
                }
                Bound::AtLeast(bound) => {
                    write!(f, "{:>10}  {:>8}  >= {bound}", finding.measured, "")?;
                }
            }
            writeln!(f, "{}", if finding.is_ok() { "" } else { "   WRONG" })?;
        }
        let mut told = "";
        for finding in self.wrong() {
            if finding.test != told {
                told = finding.test;
                writeln!(f, "{told}: {}", cure(told))?;
            }
        }
        Ok(())
    }
}
