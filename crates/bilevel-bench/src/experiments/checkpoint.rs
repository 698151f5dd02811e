//! What a run that was cut short goes on from.

use bilevel_core::Snapshot;
use serde::{Deserialize, Serialize};

use crate::report::folder::RunFolder;
use crate::report::{MethodReport, ReportError, StepRecord};

const FILE: &str = "checkpoint.bin";

/// The methods that are done, and how far the one is that is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub done: Vec<Saved>,
    pub current: Option<Current>,
}

/// A method's report with its series, which `summary.json` leaves out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    report: MethodReport,
    series: Vec<StepRecord>,
}

/// A method in the middle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Current {
    pub saved: Saved,
    /// Upper steps made.
    pub step: usize,
    pub solver: Snapshot,
}

impl Saved {
    pub fn new(report: &MethodReport) -> Self {
        Self { report: report.clone(), series: report.series.clone() }
    }

    pub fn name(&self) -> &str {
        &self.report.name
    }

    pub fn report(&self) -> MethodReport {
        MethodReport { series: self.series.clone(), ..self.report.clone() }
    }
}

impl Checkpoint {
    /// The checkpoint of a folder; an empty one where there is none yet.
    pub fn read(folder: &RunFolder) -> Result<Self, ReportError> {
        let Some(bytes) = folder.read_file(FILE)? else { return Ok(Self::default()) };
        rmp_serde::from_slice(&bytes).map_err(|cause| ReportError::Damaged {
            path: folder.path().join(FILE),
            what: cause.to_string(),
        })
    }

    /// There whole or not at all: the file before stays until this one is complete.
    pub fn write(&self, folder: &RunFolder) -> Result<(), ReportError> {
        let bytes = rmp_serde::to_vec_named(self)
            .map_err(|cause| ReportError::Format { file: FILE, what: cause.to_string() })?;
        folder.write_file(FILE, &bytes)
    }

    pub fn remove(folder: &RunFolder) -> Result<(), ReportError> {
        folder.remove_file(FILE)
    }
}
