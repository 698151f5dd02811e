//! What the targets share: one file a process, whose contents change.

use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;

#[path = "../../crates/bilevel-data/tests/data/cures.rs"]
mod cures;

/// Calls `read` with the path of a file of that name and these contents, in a folder of its own in memory.
pub fn in_file<R>(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> R) -> R {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let make = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let path = FOLDER.get_or_init(|| make().expect("a folder")).path().join(name);
    std::fs::write(&path, bytes).expect("a file in it");
    read(&path)
}

/// An error says what to do: its text has a cure after the cause.
pub fn check<T, E: std::fmt::Display>(found: Result<T, E>) {
    if let Err(error) = found {
        let text = error.to_string();
        assert!(cures::has_cure(&text), "no cure: {text}");
    }
}
