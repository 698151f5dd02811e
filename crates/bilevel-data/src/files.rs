//! Data files: found by one rule, and opened only if reading them ends.

use std::fs::{self, File, FileType};
use std::path::{Path, PathBuf};

use super::DataError;

/// Compression formats that are not read here: the endings of their files, and how they are unpacked.
const PACKED: [(&str, &str); 5] =
    [("bz2", "bunzip2"), ("xz", "unxz"), ("zst", "unzstd"), ("Z", "uncompress"), ("zip", "unzip")];

/// The file `name` in `dir`, or in one of its `folders`: plain or with `.gz` added, the plain one first if both exist;
/// none if neither does.
///
/// # Errors
/// [`DataError::Read`] if `dir` cannot be read, [`DataError::Packed`] if the file exists only in another compression
/// format.
pub fn find(dir: &Path, folders: &[&str], name: &str) -> Result<Option<PathBuf>, DataError> {
    // Checked first, so that a mistyped folder is not reported as a folder that lacks a file.
    fs::read_dir(dir).map_err(|cause| DataError::Read { path: dir.into(), cause })?;
    let places: Vec<PathBuf> =
        [dir.into()].into_iter().chain(folders.iter().map(|folder| dir.join(folder))).collect();
    let named = |ending: &str| {
        let name = format!("{name}{ending}");
        places.iter().map(move |place| place.join(&name))
    };
    let read = || ["", ".gz"].into_iter().flat_map(&named);
    // A folder or a pipe of that name is found too, so that opening it says what it is.
    let found = read().find(|path| path.is_file()).or_else(|| read().find(|path| path.exists()));
    if found.is_some() {
        return Ok(found);
    }
    for (ending, cure) in PACKED {
        if let Some(path) = named(&format!(".{ending}")).find(|path| path.is_file()) {
            return Err(DataError::Packed { path, cure });
        }
    }
    Ok(None)
}

/// The same, where a missing file is an error.
///
/// # Errors
/// Those of [`find`], and [`DataError::Absent`].
pub fn require(dir: &Path, folders: &[&str], name: &str) -> Result<PathBuf, DataError> {
    find(dir, folders, name)?.ok_or_else(|| DataError::Absent {
        dir: dir.into(),
        name: name.into(),
        folders: folders.iter().map(|folder| format!("{folder}/")).collect(),
    })
}

/// Opens a regular file. A pipe or a device might never end, and opening one may block forever.
///
/// # Errors
/// [`DataError::Read`] if it cannot be opened, [`DataError::NoFile`] if it is something else.
pub fn open(path: &Path) -> Result<File, DataError> {
    let refuse = |cause| DataError::Read { path: path.into(), cause };
    let kind = fs::metadata(path).map_err(refuse)?.file_type();
    if !kind.is_file() {
        return Err(DataError::NoFile { path: path.into(), found: describe(kind) });
    }
    File::open(path).map_err(refuse)
}

fn describe(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    if kind.is_dir() { "a folder" } else { "no file" }
}
