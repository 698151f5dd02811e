//! The state from which an interrupted run resumes.
//!
//! The last two states of a run are kept: if the newest cannot be read, the run resumes from the one before.

use bilevel_core::{CheckpointError, CheckpointFile, Snapshot};
use serde::{Deserialize, Serialize};

use crate::report::folder::{LockedFolder, RunFolder};
use crate::report::{MethodReport, ReportError, StepRecord};

/// The finished methods, and the progress of the current one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The fingerprint of its `settings.toml`.
    pub settings: String,
    pub done: Vec<Saved>,
    pub current: Option<Current>,
}

/// A method's report with its series, which `summary.json` leaves out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    report: MethodReport,
    series: Vec<StepRecord>,
}

/// A method in progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Current {
    pub saved: Saved,
    /// Upper steps made.
    pub step: usize,
    pub solver: Snapshot,
}

impl Saved {
    pub fn new(report: &MethodReport) -> Self {
        let mut report = report.clone();
        Self { series: std::mem::take(&mut report.series), report }
    }

    pub fn name(&self) -> &str {
        &self.report.name
    }

    pub fn report(&self) -> MethodReport {
        MethodReport { series: self.series.clone(), ..self.report.clone() }
    }
}

impl Checkpoint {
    /// Its files.
    pub const FILES: [&str; 2] = ["checkpoint.bin", "checkpoint-before.bin"];

    fn file(folder: &RunFolder) -> CheckpointFile {
        CheckpointFile::new(folder.path().join(Self::FILES[0]))
    }

    /// Whether there is one, of which the contents may be damaged.
    pub fn exists(folder: &RunFolder) -> bool {
        Self::FILES.iter().any(|file| folder.path().join(file).exists())
    }

    /// The checkpoint of a folder; an empty one if there is none yet.
    pub fn read(folder: &LockedFolder) -> Result<Self, ReportError> {
        Ok(Self::file(folder).read()?.unwrap_or_default())
    }

    /// Written atomically; the one before is kept.
    pub fn write(&self, folder: &LockedFolder) -> Result<(), ReportError> {
        Ok(Self::file(folder).write(self)?)
    }

    /// Removes what is no longer needed.
    pub fn remove(folder: &LockedFolder) -> Result<(), ReportError> {
        Ok(Self::file(folder).remove()?)
    }
}

impl From<CheckpointError> for ReportError {
    fn from(error: CheckpointError) -> Self {
        use std::io::Error;
        match error {
            CheckpointError::Read { path, kind, cause } => {
                Self::Read { path, cause: Error::new(kind, cause) }
            }
            CheckpointError::Write { path, kind, cause } => {
                Self::Write { path, cause: Error::new(kind, cause) }
            }
            CheckpointError::Damaged { path, what } => Self::Damaged { path, what },
            other => Self::Format { file: Checkpoint::FILES[0], what: other.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Phase;

    /// Other tests of this process allocate at the same time: one of many peaks is this test's alone.
    #[test]
    fn a_large_one_takes_little_more_than_twice_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "run").unwrap().hold().unwrap();
        let mut solver = Snapshot::default();
        for at in 0..10 {
            solver.put_numbers(&format!("y/{at}"), &vec![0.5; 1 << 17]);
        }
        let saved = Saved::new(&MethodReport { name: "cg".into(), ..MethodReport::default() });
        let current = Some(Current { saved, step: 3, solver });
        let large = Checkpoint { settings: "0".into(), done: Vec::new(), current };
        large.write(&folder).unwrap();
        let path = folder.path().join(Checkpoint::FILES[0]);
        let size = std::fs::metadata(&path).unwrap().len() as f64;
        let stays_below = |most: f64, accepted: bool| {
            (0..100).any(|_| {
                let phase = Phase::start();
                assert_eq!(Checkpoint::read(&folder).is_ok_and(|read| read == large), accepted);
                phase.peak().heap.is_some_and(|peak| (peak as f64) < most * size)
            })
        };
        // The file itself is held too. While one vector of ten is read, Burn holds it twice.
        assert!(stays_below(2.15, true), "more than twice the file");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[size as usize / 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(stays_below(1.1, false), "memory for a file that is damaged");
    }
}
