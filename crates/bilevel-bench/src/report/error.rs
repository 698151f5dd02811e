use std::io;
use std::path::PathBuf;

/// Why a report cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The file system failed.
    #[error("{}: {cause}; check that the folder exists, is writable and has room", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The message of the operating system.
        cause: io::Error,
    },
    /// The file system failed.
    #[error("{}: {cause}; check that this is the folder of a run, and readable", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The message of the operating system.
        cause: io::Error,
    },
    /// A file that is not what it should be.
    #[error("{}: {what}; remove the folder and start the run anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A run that began with something different from what is here.
    #[error(
        "{}: the run began with {what} {began}, here is {here}; resume it with what it began with, or start \
         the run anew",
        path.display()
    )]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// The value with which it began.
        began: String,
        /// The value here.
        here: String,
    },
    /// A run that began on other data, or by another version.
    #[error(
        "{}: the run began with {what} {began}, here is {here}; resume it with the {what} that it began with, start the \
         run anew, or go on with --accept-changes",
        path.display()
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// What changed.
        what: &'static str,
        /// What it began with.
        began: String,
        /// What is here.
        here: String,
    },
    /// A folder that another process works in.
    #[error("{}: another process is working on this run; wait until it ends, or end it", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A name that is not a plain folder name.
    #[error(
        "run name {0:?}, expected 1 to 100 letters, digits, '-', '_' or '.', not first a '.'; rename the run"
    )]
    Name(String),
    /// Every suffix of a name is taken.
    #[error("{} and its numbered successors up to -{tried} exist; remove old runs", path.display())]
    Crowded {
        /// The folder without a suffix.
        path: PathBuf,
        /// The last suffix tried.
        tried: u32,
    },
    /// A value that the file's format cannot represent.
    #[error("{file}: {what}; use only settings that both TOML and JSON can represent")]
    Format {
        /// The file that was to be written.
        file: &'static str,
        /// The cause.
        what: String,
    },
    /// The figure cannot be drawn.
    #[error("curves.svg: {0}; report this with metrics.csv of the run")]
    Draw(String),
}
