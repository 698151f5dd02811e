//! The folder of a run that several processes share.

use std::path::Path;

use bilevel_core::{Error, Group};
use tempfile::TempDir;

use super::checkpoint::Checkpoint;
use crate::error::BenchError;
use crate::report::ReportError;
use crate::report::folder::{LockedFolder, RunFolder, SUMMARY};

/// The folder of a run: on rank 0 the real one. The other ranks work in temporary ones that nobody sees, so that no
/// other code needs to handle ranks.
pub(super) struct Shared {
    folder: RunFolder,
    _passing: Option<TempDir>,
}

impl Shared {
    /// Creates the folder `root/name`; see [`RunFolder::create`].
    pub fn create(root: &Path, name: &str, ranks: &dyn Group) -> Result<Self, ReportError> {
        match ranks.rank() {
            0 => Ok(Self { folder: RunFolder::create(root, name)?, _passing: None }),
            _ => Self::passing(),
        }
    }

    /// The folder of a resumed run, held. Rank 0 sends its contents to the others.
    pub fn open(path: &Path, ranks: &dyn Group) -> Result<(Self, LockedFolder), BenchError> {
        let shared = match ranks.rank() {
            0 => Self { folder: RunFolder::open(path)?, _passing: None },
            _ => Self::passing()?,
        };
        let held = shared.hold()?;
        for name in ["settings.toml", SUMMARY].into_iter().chain(Checkpoint::FILES) {
            // One byte before the contents: the file exists.
            let own = held.read_file(name)?;
            let sent = own.map_or(Vec::new(), |contents| [vec![1], contents].concat());
            let told = ranks.broadcast(sent).map_err(Error::Group)?;
            if let ([_, contents @ ..], true) = (&told[..], ranks.rank() > 0) {
                held.write_file(name, contents)?;
            }
        }
        Ok((shared, held))
    }

    fn passing() -> Result<Self, ReportError> {
        let passing = tempfile::tempdir()
            .map_err(|cause| ReportError::Write { path: std::env::temp_dir(), cause })?;
        Ok(Self { folder: RunFolder::open(passing.path())?, _passing: Some(passing) })
    }

    /// Claims it for this process.
    pub fn hold(&self) -> Result<LockedFolder, ReportError> {
        self.folder.hold()
    }

    /// The location of the results, on rank 0.
    pub fn of_run(self) -> RunFolder {
        self.folder
    }
}
