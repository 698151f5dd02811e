//! The right to work in a folder, held by one process at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Deref;

use same_file::Handle;

use super::{ReportError, RunFolder};

/// The file whose lock is the right. The system releases a lock with its process, however that ends; after a process is
/// killed only the file stays, and the next process locks it.
const LOCK: &str = "lock";

/// A folder owned by this process, until the value is dropped.
#[derive(Debug)]
pub struct LockedFolder {
    folder: RunFolder,
    _lock: Handle,
}

impl RunFolder {
    /// Claims the folder for this process. Incomplete files, which have no owner, are removed.
    ///
    /// # Errors
    /// If another process has it, or the file system fails.
    pub fn hold(&self) -> Result<LockedFolder, ReportError> {
        self.try_hold()?.ok_or_else(|| ReportError::Busy { path: self.path.clone() })
    }

    /// The same; none if another process has it.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn try_hold(&self) -> Result<Option<LockedFolder>, ReportError> {
        self.hold_by(File::try_lock)
    }

    /// The same, once no other process has it: for short tasks.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn wait_to_hold(&self) -> Result<LockedFolder, ReportError> {
        let held = self.hold_by(|file| file.lock().map_err(TryLockError::Error))?;
        held.ok_or_else(|| ReportError::Busy { path: self.path.clone() })
    }

    /// Whether a process has it, or had it and was killed.
    pub fn was_held(&self) -> bool {
        self.path.join(LOCK).exists()
    }

    fn hold_by(
        &self,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<LockedFolder>, ReportError> {
        let path = self.path.join(LOCK);
        let refuse = |cause| ReportError::Write { path: path.clone(), cause };
        loop {
            let file = File::options().create(true).append(true).open(&path).map_err(refuse)?;
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(cause)) => return Err(refuse(cause)),
            }
            let lock = Handle::from_file(file).map_err(refuse)?;
            // The previous process may have removed the file after it was opened here: then its lock is worthless.
            match Handle::from_path(&path) {
                Ok(there) if there == lock => {
                    self.clean()?;
                    return Ok(Some(LockedFolder { folder: self.clone(), _lock: lock }));
                }
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(refuse(cause)),
                _ => {}
            }
        }
    }
}

impl Deref for LockedFolder {
    type Target = RunFolder;

    fn deref(&self) -> &RunFolder {
        &self.folder
    }
}

impl Drop for LockedFolder {
    /// The file is removed while its lock is held: a process that opened it meanwhile notices, and opens another.
    fn drop(&mut self) {
        // A file that stays does no harm.
        let _ = fs::remove_file(self.folder.path.join(LOCK));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    fn folder() -> (tempfile::TempDir, RunFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "run").unwrap();
        (root, folder)
    }

    #[test]
    fn is_held_once_and_leaves_nothing() {
        let (_root, folder) = folder();
        let held = folder.hold().unwrap();
        assert!(folder.was_held() && folder.try_hold().unwrap().is_none());
        let text = folder.hold().unwrap_err().to_string();
        assert!(text.starts_with(&format!("{}: another process", folder.path().display())));
        drop(held);
        assert!(!folder.was_held(), "the file of the lock is left");
        // After a process is killed its lock file stays, and so do incomplete files.
        fs::write(folder.path().join(LOCK), "").unwrap();
        fs::write(folder.path().join(".unfinished-x"), "half").unwrap();
        drop(folder.hold().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// The lock file comes and goes all the time: a lock of a removed one must not count.
    #[test]
    fn no_two_hold_it_at_once() {
        let (_root, folder) = folder();
        let (inside, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for at in 0..4 {
                let (folder, inside, turns) = (&folder, &inside, &turns);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let held = match at % 2 {
                            0 => Some(folder.wait_to_hold().unwrap()),
                            _ => folder.try_hold().unwrap(),
                        };
                        if let Some(held) = held {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            turns.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(held);
                        }
                    }
                });
            }
        });
        assert!(turns.load(Ordering::SeqCst) >= 1000);
        assert!(!folder.was_held());
    }
}
