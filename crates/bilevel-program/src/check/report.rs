//! What the check measured.

use std::fmt;

use super::{Bound, Finding};

/// What [`check`](crate::check) measured. Its `Display` is a table.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a report that nobody reads checks nothing: call `assert_ok`"]
pub struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Every measurement.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether all measurements are within their bounds.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(Finding::is_ok)
    }

    /// The paths of the parameters at fault: those whose derivatives, moved alone, are wrong.
    pub fn faulty(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = Vec::new();
        for finding in self.findings.iter().filter(|finding| !finding.is_ok()) {
            if let Some(path) = finding.parameter.as_deref().filter(|path| !paths.contains(path)) {
                paths.push(path);
            }
        }
        paths
    }

    /// Panics with the table if a measurement is out of its bounds.
    ///
    /// # Panics
    /// Only then.
    #[track_caller]
    pub fn assert_ok(&self) {
        assert!(self.is_ok(), "the derivatives are not those of the loss\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |finding: &Finding| finding.parameter.clone().unwrap_or("(all)".into());
        let width = self.findings.iter().map(|x| path(x).len()).max().unwrap_or(0).max(9);
        let columns = ("test", "parameter", "measured", "rounding");
        let (test, parameter, measured, rounding) = columns;
        writeln!(f, "{test:<10}{parameter:<width$}  {measured:>10}  {rounding:>8}  wanted")?;
        for finding in &self.findings {
            write!(f, "{:<10}{:<width$}  ", finding.test, path(finding))?;
            match finding.bound {
                Bound::AtMost(bound) => {
                    let Finding { measured, rounding, .. } = finding;
                    write!(
                        f,
                        "{measured:>10.1e}  {rounding:>8.1e}  <= {bound:e}, beyond rounding"
                    )?;
                }
                Bound::AtLeast(bound) => {
                    write!(f, "{:>10.3}  {:>8}  >= {bound}", finding.measured, "")?;
                }
            }
            writeln!(f, "{}", if finding.is_ok() { "" } else { "   WRONG" })?;
        }
        match self.faulty().as_slice() {
            [] => Ok(()),
            paths => writeln!(f, "at fault: {}", paths.join(", ")),
        }
    }
}
