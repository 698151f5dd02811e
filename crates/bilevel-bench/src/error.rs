//! The errors that end the program, and their exit codes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::backend::BackendError;
use crate::hypergrad::TensorError;
use crate::report::ReportError;
use bilevel_data::DataError;
use bilevel_data::noise::NoiseError;
use bilevel_data::split::SplitError;

/// An error of the binary. [`BenchError::exit_code`] is the exit code of the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// An invalid setting.
    #[error("{setting} is {found}, expected {expected}: {cure}")]
    Setting {
        /// The flag.
        setting: Cow<'static, str>,
        /// Its value.
        found: String,
        /// The values it may have.
        expected: String,
        /// What to do.
        cure: Cow<'static, str>,
    },
    /// A data set that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A safetensors file that cannot be read.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// A data set that is too small.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// Noise that cannot be generated.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A backend that cannot run.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A run that diverged, or a setting that the library refused.
    #[error(transparent)]
    Core(#[from] bilevel_core::Error),
    /// Results that cannot be written, or resumed.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A signal that ended a run.
    #[error("interrupted: {}\n{}", what_is_kept(*.kept), resume(.folder))]
    Interrupted {
        /// Its number.
        signal: i32,
        /// The folder to resume.
        folder: PathBuf,
        /// Whether there is a checkpoint.
        kept: bool,
    },
    /// Methods that did not end well; the summary says why, and the results of the others are valid.
    #[error("{} did not end well; see {} for the reason and its cure", .methods.join(", "), .summary.display())]
    Methods {
        /// Their names.
        methods: Vec<String>,
        /// The summary.
        summary: PathBuf,
    },
    /// A hypergradient that was computed and cannot be used; its status ends with the remedy.
    #[error("the hypergradient cannot be used: {status}")]
    Unusable {
        /// What is wrong with it.
        status: String,
    },
    /// A problem that was not solved.
    #[error("no solution was found: {end}\n\n{found}")]
    NoSolution {
        /// How it ended, and the remedy.
        end: String,
        /// The best point found.
        found: String,
    },
    /// Derivatives that a check found wrong.
    #[error(
        "the derivatives of the {} loss are not those of its values: the lines marked WRONG say where",
        .losses.join(" and of the ")
    )]
    Derivatives {
        /// The losses.
        losses: Vec<String>,
    },
}

impl BenchError {
    /// The same for a run that is part of something in another folder, which is resumed instead.
    pub(crate) fn of_folder(self, folder: &Path) -> Self {
        match self {
            Self::Interrupted { signal, .. } => {
                Self::Interrupted { signal, folder: folder.into(), kept: true }
            }
            other => other,
        }
    }

    /// Whether all ranks of a run end with it.
    pub fn is_common(&self) -> bool {
        matches!(self, Self::Setting { .. } | Self::Interrupted { .. } | Self::Methods { .. })
    }

    /// The exit code: 2 a wrong command line or setting, 3 data, 4 the backend or its device, 5 a run that diverged or
    /// increased f, or `bilevel solve` without a solution, 6 a folder of a run that cannot be used, 7 a wrong
    /// derivative, 128 plus the number of the signal that interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Setting { .. } | Self::Noise(_) => 2,
            Self::Core(bilevel_core::Error::InvalidSetting { .. }) => 2,
            // The checkpoint is of other settings, or of another version.
            Self::Core(bilevel_core::Error::Snapshot { .. }) => 6,
            Self::Core(
                bilevel_core::Error::Device { .. }
                | bilevel_core::Error::Trace {
                    error: bilevel_core::TraceError::TooLarge { .. }, ..
                },
            ) => 4,
            Self::Data(_) | Self::Tensors(_) | Self::Split(_) => 3,
            Self::Backend(_) => 4,
            Self::Core(_)
            | Self::Methods { .. }
            | Self::Unusable { .. }
            | Self::NoSolution { .. } => 5,
            Self::Report(_) => 6,
            Self::Derivatives { .. } => 7,
            Self::Interrupted { signal, .. } => crate::interrupt::code(*signal),
        }
    }
}

fn what_is_kept(kept: bool) -> &'static str {
    if kept { "what is done is kept" } else { "nothing is done yet; the run starts over" }
}

/// The command that resumes a folder.
pub(crate) fn resume(folder: &Path) -> String {
    format!("resume with: {}", command_line(["bilevel", "resume", &folder.display().to_string()]))
}

/// Words for a shell, quoted where necessary.
pub(crate) fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    // No argument and no path contains a zero byte, the only thing that cannot be quoted.
    let quoted = |word: &'a str| shlex::try_quote(word).unwrap_or(Cow::Borrowed(word));
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The exit codes, for `--help`.
pub const EXIT_CODES: &str = "Exit codes:
  0  all went well
  2  a wrong command line or setting
  3  data that is missing, damaged or too small
  4  a backend that cannot run here, or a device that failed
  5  a run that diverged or increased f, or `bilevel solve` found no solution
  6  a folder of a run that cannot be used: not writable, damaged, or in use by another process
  7  a derivative that is wrong
  129, 130, 143  interrupted by SIGHUP, by Ctrl-C, by SIGTERM: what is done is kept";
