//! What a run that was cut short goes on from.
//!
//! A file is the length of its contents in eight bytes, their checksum by BLAKE3, and the contents as MessagePack.
//! Of a run the last two are kept: where the newest cannot be read, the one before is gone on with.

use bilevel_core::Snapshot;
use serde::{Deserialize, Serialize};

use crate::report::folder::{LockedFolder, RunFolder};
use crate::report::{MethodReport, ReportError, StepRecord};

const NEWEST: &str = "checkpoint.bin";
const BEFORE: &str = "checkpoint-before.bin";

/// Bytes of the length, and of all that stands before the contents.
const LENGTH: usize = size_of::<u64>();
const HEADER: usize = LENGTH + blake3::OUT_LEN;

/// The methods that are done, and how far the one is that is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The fingerprint of the `settings.toml` that it belongs to.
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
    /// The files that it is in.
    pub const FILES: [&str; 2] = [NEWEST, BEFORE];

    /// The checkpoint of a folder; an empty one where there is none yet.
    pub fn read(folder: &LockedFolder) -> Result<Self, ReportError> {
        let newest = match Self::load(folder, NEWEST) {
            // Killed between two renames.
            Ok(None) => Self::load(folder, BEFORE)?,
            // Not one that cannot be read at this moment: it may be sound.
            Err(error @ ReportError::Damaged { .. }) => {
                let Ok(Some(before)) = Self::load(folder, BEFORE) else { return Err(error) };
                tracing::warn!("the checkpoint before this one is gone on with: {error}");
                // The next one would else take the place of the only one that can be read.
                folder.rename_file(BEFORE, NEWEST)?;
                Some(before)
            }
            newest => newest?,
        };
        Ok(newest.unwrap_or_default())
    }

    fn load(folder: &RunFolder, name: &str) -> Result<Option<Self>, ReportError> {
        let Some(bytes) = folder.read_file(name)? else { return Ok(None) };
        let damaged = |what| ReportError::Damaged { path: folder.path().join(name), what };
        Self::decode(&bytes).map(Some).map_err(damaged)
    }

    /// There whole or not at all, beside the one before.
    pub fn write(&self, folder: &LockedFolder) -> Result<(), ReportError> {
        let bytes = self.encode().map_err(|what| ReportError::Format { file: NEWEST, what })?;
        folder.write_next(NEWEST, BEFORE, &bytes)
    }

    /// Removes what is not needed any more.
    pub fn remove(folder: &LockedFolder) -> Result<(), ReportError> {
        folder.remove_file(BEFORE)?;
        folder.remove_file(NEWEST)
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = vec![0; HEADER];
        rmp_serde::encode::write_named(&mut bytes, self).map_err(|cause| cause.to_string())?;
        let (header, contents) = bytes.split_at_mut(HEADER);
        header[..LENGTH].copy_from_slice(&(contents.len() as u64).to_le_bytes());
        header[LENGTH..].copy_from_slice(blake3::hash(contents).as_bytes());
        Ok(bytes)
    }

    /// Nothing is made of bytes that are not those that were written.
    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let found = bytes.len();
        let Some((header, contents)) = bytes.split_at_checked(HEADER) else {
            return Err(format!("{found} bytes, expected {HEADER} and more"));
        };
        let (length, checksum) = header.split_at(LENGTH);
        if length != (contents.len() as u64).to_le_bytes() {
            return Err(format!(
                "{found} bytes, expected another length: the file was cut or grew"
            ));
        }
        if blake3::hash(contents).as_bytes() != checksum {
            return Err("the checksum is not that of the contents".into());
        }
        rmp_serde::from_slice(contents).map_err(|cause| cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::memory::Phase;

    /// A checkpoint in the middle of its second method, with `steps` steps behind it.
    fn checkpoint(steps: usize) -> Checkpoint {
        let series = (0..steps as u64).map(|step| StepRecord {
            step,
            seconds: 0.1,
            upper_loss: Some(1.0 / (step as f64 + 1.0)),
            test_accuracy: (step % 2 == 0).then_some(0.5),
            calls: 100 * step,
            ..StepRecord::default()
        });
        let report = |name: &str| MethodReport {
            name: name.into(),
            status: "as planned".into(),
            series: series.clone().collect(),
            ..MethodReport::default()
        };
        let mut solver = Snapshot::default();
        solver.put_count("step", steps);
        let current = Current { saved: Saved::new(&report("cg")), step: steps, solver };
        let done = vec![Saved::new(&report("rad"))];
        Checkpoint { settings: "0".into(), done, current: Some(current) }
    }

    #[test]
    fn no_damaged_one_is_accepted() {
        let whole = checkpoint(3).encode().unwrap();
        assert_eq!(Checkpoint::decode(&whole).unwrap(), checkpoint(3));
        for end in 0..whole.len() {
            assert!(Checkpoint::decode(&whole[..end]).is_err(), "cut after {end} bytes");
        }
        assert!(Checkpoint::decode(&[&whole[..], &[0]].concat()).is_err(), "a byte too many");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..10_000 {
            let mut damaged = whole.clone();
            let at = rng.random_range(0..whole.len());
            let bit = rng.random_range(0..8);
            damaged[at] ^= 1 << bit;
            assert!(Checkpoint::decode(&damaged).is_err(), "bit {bit} of byte {at}");
        }
    }

    fn folder() -> (tempfile::TempDir, LockedFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "run").unwrap().hold().unwrap();
        (root, folder)
    }

    #[test]
    fn the_one_before_serves_where_the_newest_cannot_be_read() {
        let (_root, folder) = folder();
        assert_eq!(Checkpoint::read(&folder).unwrap(), Checkpoint::default());
        for steps in 1..=3 {
            checkpoint(steps).write(&folder).unwrap();
        }
        assert_eq!(Checkpoint::read(&folder).unwrap(), checkpoint(3));
        // Killed between the renames.
        std::fs::remove_file(folder.path().join(NEWEST)).unwrap();
        assert_eq!(Checkpoint::read(&folder).unwrap(), checkpoint(2));
        checkpoint(4).write(&folder).unwrap();
        let whole = folder.read_file(NEWEST).unwrap().unwrap();
        for damaged in [&whole[..0], &whole[..whole.len() - 1], &[0; 100]] {
            folder.write_file(NEWEST, damaged).unwrap();
            checkpoint(2).write_as(BEFORE, &folder);
            assert_eq!(Checkpoint::read(&folder).unwrap(), checkpoint(2));
            // The one that serves is not replaced by the damaged one when there is a next.
            checkpoint(5).write(&folder).unwrap();
            folder.write_file(NEWEST, damaged).unwrap();
            assert_eq!(Checkpoint::read(&folder).unwrap(), checkpoint(2));
        }
        folder.write_file(NEWEST, &whole[1..]).unwrap();
        folder.write_file(BEFORE, &whole[2..]).unwrap();
        let text = Checkpoint::read(&folder).unwrap_err().to_string();
        assert!(text.contains(NEWEST) && text.contains("start the run anew"), "{text}");
        Checkpoint::remove(&folder).unwrap();
        assert_eq!(Checkpoint::read(&folder).unwrap(), Checkpoint::default());
    }

    /// Other tests of this process allocate at the same time: one of many peaks is this one's alone.
    #[test]
    fn a_large_one_takes_little_more_than_twice_its_bytes() {
        let mut large = checkpoint(3);
        for at in 0..10 {
            let numbers = vec![0.5; 1 << 17];
            large.current.as_mut().unwrap().solver.put_numbers(&format!("y/{at}"), &numbers);
        }
        let mut bytes = large.encode().unwrap();
        let size = bytes.len() as f64;
        let mut stays_below = |most: f64, accepted: bool| {
            let within = (0..100).any(|_| {
                let phase = Phase::start();
                assert_eq!(Checkpoint::decode(&bytes).is_ok(), accepted);
                phase.peak().heap.is_some_and(|peak| (peak as f64) < most * size)
            });
            bytes[size as usize / 2] ^= 1;
            within
        };
        // The bytes themselves are held beside it. While one vector of ten is read, Burn holds it twice.
        assert!(stays_below(1.15, true), "more than twice the file");
        assert!(stays_below(0.1, false), "memory for a file that is damaged");
    }

    impl Checkpoint {
        fn write_as(&self, name: &str, folder: &LockedFolder) {
            folder.write_file(name, &self.encode().unwrap()).unwrap();
        }
    }
}
