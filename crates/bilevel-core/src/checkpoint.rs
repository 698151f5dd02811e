//! State that survives its process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Group};

/// A file that holds the newest state of a run, beside one that holds the state before it.
///
/// The newest state is written atomically, even if the power fails: to a third file, which is then renamed. A file
/// starts with the length of its contents and their CRC-32, followed by the contents in MessagePack, so that a damaged
/// file is recognised; then the state before it is read. For the file `run.bin` the others are `run-before.bin` and
/// `.unfinished-run.bin`, in the same folder, which must exist. Only one process at a time may write it.
///
/// [`Executor::with_checkpoints`](crate::Executor::with_checkpoints) keeps a run in it. It can hold any value of serde:
///
/// ```
/// # use bilevel_core::{CheckpointError, CheckpointFile};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("run.bin");
/// let file = CheckpointFile::new(path);
/// assert_eq!(file.read::<u64>()?, None);
/// file.write(&7_u64)?;
/// assert_eq!(file.read()?, Some(7_u64));
/// file.remove()?;
/// # Ok::<(), CheckpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    path: PathBuf,
}

/// Why a checkpoint cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system failed.
    #[error("{}: {cause}; check that the folder exists, is writable and has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The message of the operating system.
        cause: String,
    },
    /// The file system failed.
    #[error("{}: {cause}; check that the file is readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The message of the operating system.
        cause: String,
    },
    /// An intact file of another program or another type of state.
    #[error("{}: {what}; read it with the version that wrote it, or remove it to start the run anew", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// A damaged file, with no other one to fall back on.
    #[error("{}: {what}; remove the file to start the run anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The number of bytes of the length, and of everything before the contents.
const LENGTH: usize = size_of::<u64>();
const HEADER: usize = LENGTH + size_of::<u32>();

impl CheckpointFile {
    /// The file at a path, whether it exists yet or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of the newest state.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the state before it.
    pub fn path_before(&self) -> PathBuf {
        let of = |part: Option<&std::ffi::OsStr>| part.map(OsString::from).unwrap_or_default();
        let mut name = of(self.path.file_stem());
        name.push("-before");
        if let Some(extension) = self.path.extension() {
            name.push(".");
            name.push(extension);
        }
        self.path.with_file_name(name)
    }

    fn unfinished(&self) -> PathBuf {
        let mut name = OsString::from(".unfinished-");
        name.push(self.path.file_name().unwrap_or_default());
        self.path.with_file_name(name)
    }

    /// The newest state that is not damaged; none where there is no file.
    ///
    /// # Errors
    /// If the file system fails, both files are damaged, or an intact one has a state of another type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        let before = self.path_before();
        match load(&self.path) {
            // The process ended between the two renames.
            Ok(None) => load(&before),
            // Not a file that merely cannot be read at this moment: it may be intact.
            Err(error @ CheckpointError::Damaged { .. }) => {
                let Ok(Some(state)) = load(&before) else { return Err(error) };
                tracing::warn!("the checkpoint before this one is read instead: {error}");
                // Otherwise the next state would replace the only one that can be read.
                let renamed = fs::rename(&before, &self.path);
                renamed.map_err(|cause| refused(&self.path, &cause))?;
                Ok(Some(state))
            }
            newest => newest,
        }
    }

    /// The newest state of rank 0.
    pub(crate) fn read_on_all<T>(&self, group: &dyn Group) -> Result<Option<T>, Error>
    where
        T: Serialize + DeserializeOwned,
    {
        let own: Option<T> = match group.rank() {
            0 => self.read().map_err(Error::Checkpoint)?,
            _ => None,
        };
        if group.size() == 1 {
            return Ok(own);
        }
        let damaged =
            |what| Error::Checkpoint(CheckpointError::Damaged { path: self.path.clone(), what });
        let sent = encode(&own).map_err(|cause| damaged(cause.to_string()))?;
        let told = group.broadcast(sent).map_err(Error::Group)?;
        decode(&told).map_err(damaged)
    }

    /// Makes `state` the newest one.
    ///
    /// # Errors
    /// If the file system fails; the earlier states are kept.
    pub fn write<T: Serialize>(&self, state: &T) -> Result<(), CheckpointError> {
        let unfinished = self.unfinished();
        let write = || {
            if self.path.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let bytes = encode(state).map_err(io::Error::other)?;
            let mut file = File::create(&unfinished)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            match fs::rename(&self.path, self.path_before()) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                _ => {}
            }
            fs::rename(&unfinished, &self.path)?;
            sync_folder(&self.path)
        };
        write().map_err(|cause| {
            let _ = fs::remove_file(&unfinished);
            refused(&self.path, &cause)
        })
    }

    /// Removes all files.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn remove(&self) -> Result<(), CheckpointError> {
        // The newest one last: it is the one to read as long as it exists.
        for path in [self.unfinished(), self.path_before(), self.path.clone()] {
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(refused(&path, &cause));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn refused(path: &Path, cause: &io::Error) -> CheckpointError {
    CheckpointError::Write { path: path.into(), kind: cause.kind(), cause: cause.to_string() }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CheckpointError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            let (kind, cause) = (cause.kind(), cause.to_string());
            return Err(CheckpointError::Read { path: path.into(), kind, cause });
        }
    };
    let damaged = |what| CheckpointError::Damaged { path: path.into(), what };
    let foreign = |what: rmp_serde::decode::Error| CheckpointError::Foreign {
        path: path.into(),
        what: what.to_string(),
    };
    let contents = contents(&bytes).map_err(damaged)?;
    rmp_serde::from_slice(contents).map(Some).map_err(foreign)
}

fn encode<T: Serialize>(state: &T) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = vec![0; HEADER];
    rmp_serde::encode::write_named(&mut bytes, state)?;
    let (header, contents) = bytes.split_at_mut(HEADER);
    header[..LENGTH].copy_from_slice(&(contents.len() as u64).to_le_bytes());
    header[LENGTH..].copy_from_slice(&crc32fast::hash(contents).to_le_bytes());
    Ok(bytes)
}

/// Nothing is read from bytes other than those that were written.
fn contents(bytes: &[u8]) -> Result<&[u8], String> {
    let found = bytes.len();
    let Some((header, contents)) = bytes.split_at_checked(HEADER) else {
        return Err(format!("{found} bytes, expected {HEADER} and more"));
    };
    let (length, checksum) = header.split_at(LENGTH);
    if length != (contents.len() as u64).to_le_bytes() {
        return Err(format!(
            "{found} bytes, expected another length: the file was truncated or extended"
        ));
    }
    if checksum != crc32fast::hash(contents).to_le_bytes() {
        return Err("the checksum is not that of the contents".into());
    }
    Ok(contents)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(contents(bytes)?).map_err(|cause| cause.to_string())
}

/// Makes the entries of a folder durable, even if the power fails.
fn sync_folder(file: &Path) -> io::Result<()> {
    // On other systems a folder cannot be opened as a file.
    #[cfg(unix)]
    {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    let _ = file;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    type State = (String, Vec<f64>);

    fn state(step: usize) -> State {
        (format!("step {step}"), (0..40).map(|i| 1.0 / (step * i + 1) as f64).collect())
    }

    #[test]
    fn no_damaged_state_is_accepted() {
        let whole = encode(&state(3)).unwrap();
        assert_eq!(decode::<State>(&whole).unwrap(), state(3));
        for end in 0..whole.len() {
            assert!(decode::<State>(&whole[..end]).is_err(), "cut after {end} bytes");
        }
        assert!(decode::<State>(&[&whole[..], &[0]].concat()).is_err(), "a byte too many");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..10_000 {
            let mut damaged = whole.clone();
            let at = rng.random_range(0..whole.len());
            let bit = rng.random_range(0..8);
            damaged[at] ^= 1 << bit;
            assert!(decode::<State>(&damaged).is_err(), "bit {bit} of byte {at}");
        }
    }

    #[test]
    fn the_state_before_serves_where_the_newest_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(folder.path().join("run.bin"));
        let newest = || file.read::<State>().unwrap();
        assert_eq!(newest(), None);
        for step in 1..=3 {
            file.write(&state(step)).unwrap();
        }
        assert_eq!(newest(), Some(state(3)));
        // The process ended between the renames.
        fs::remove_file(file.path()).unwrap();
        assert_eq!(newest(), Some(state(2)));
        file.write(&state(4)).unwrap();
        let whole = fs::read(file.path()).unwrap();
        for damaged in [&whole[..0], &whole[..whole.len() - 1], &[0; 100]] {
            fs::write(file.path(), damaged).unwrap();
            fs::write(file.path_before(), encode(&state(2)).unwrap()).unwrap();
            assert_eq!(newest(), Some(state(2)));
            // The valid state is not replaced by the damaged one when the next is written.
            file.write(&state(5)).unwrap();
            fs::write(file.path(), damaged).unwrap();
            assert_eq!(newest(), Some(state(2)));
        }
        fs::write(file.path(), &whole[1..]).unwrap();
        fs::write(file.path_before(), &whole[2..]).unwrap();
        let error = file.read::<State>().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("run.bin") && text.contains("start the run anew"), "{text}");
        file.remove().unwrap();
        assert_eq!(newest(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = CheckpointFile::new(folder.path().join("none").join("run.bin"));
        let text = file.write(&state(1)).unwrap_err().to_string();
        assert!(
            text.contains("run.bin") && text.contains("check that the folder exists"),
            "{text}"
        );
    }
}
