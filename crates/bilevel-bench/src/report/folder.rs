//! The folder of a run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use super::{MethodReport, ReportError, RunReport, StepRecord, curves, page};

mod lock;

pub use lock::LockedFolder;

const LAST_SUFFIX: u32 = 9999;
/// The prefix of a file that is not complete.
const UNFINISHED: &str = ".unfinished-";

/// A folder that belongs to one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// The name of a run by default.
pub fn default_name(experiment: &str, seed: u64) -> String {
    format!("{experiment}-{seed}")
}

impl RunFolder {
    /// Creates the folder `root/name`, or `root/name-2`, `root/name-3` and so on if the earlier ones exist, so that no
    /// run ever overwrites another. Two processes at once get two folders.
    ///
    /// # Errors
    /// If `name` is not a plain folder name, or the folder cannot be created.
    pub fn create(root: &Path, name: &str) -> Result<Self, ReportError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain)
        {
            return Err(ReportError::Name(name.into()));
        }
        let refuse = |path: &Path, cause| ReportError::Write { path: path.into(), cause };
        fs::create_dir_all(root).map_err(|cause| refuse(root, cause))?;
        for suffix in 1..=LAST_SUFFIX {
            let path = match suffix {
                1 => root.join(name),
                _ => root.join(format!("{name}-{suffix}")),
            };
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(refuse(&path, cause)),
            }
        }
        Err(ReportError::Crowded { path: root.join(name), tried: LAST_SUFFIX })
    }

    /// The folder of an earlier run.
    ///
    /// # Errors
    /// If it is not a folder, or cannot be read.
    pub fn open(path: &Path) -> Result<Self, ReportError> {
        let refuse = |cause| ReportError::Read { path: path.into(), cause };
        fs::read_dir(path).map_err(refuse)?;
        Ok(Self { path: path.into() })
    }

    /// Removes incomplete files.
    fn clean(&self) -> Result<(), ReportError> {
        let refuse = |cause| ReportError::Read { path: self.path.clone(), cause };
        for entry in fs::read_dir(&self.path).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            // A folder with such a name is not ours.
            let is_ours = entry.file_name().to_string_lossy().starts_with(UNFINISHED)
                && entry.file_type().is_ok_and(|kind| !kind.is_dir());
            if is_ours {
                fs::remove_file(entry.path()).map_err(refuse)?;
            }
        }
        Ok(())
    }

    /// The folder `name` in this one, whether it exists or not.
    pub fn inner(&self, name: &str) -> Self {
        Self { path: self.path.join(name) }
    }

    /// Creates the folder if it does not exist.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn make(&self) -> Result<(), ReportError> {
        fs::create_dir_all(&self.path)
            .map_err(|cause| ReportError::Write { path: self.path.clone(), cause })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `settings.toml`, `metrics.csv`, `curves.svg`, `report.html` and `summary.json`.
    ///
    /// # Errors
    /// If a file cannot be written; the files before it are complete.
    pub fn write(&self, report: &RunReport) -> Result<(), ReportError> {
        self.write_file("settings.toml", settings_toml(&report.settings)?.as_bytes())?;
        self.write_file(METRICS, &metrics_csv(report)?)?;
        if let Some(svg) = curves::svg(report)? {
            self.write_file("curves.svg", svg.as_bytes())?;
        }
        page::of_run(report, self)?.write(self)?;
        self.write_file(SUMMARY, summary_json(report)?.as_bytes())
    }

    /// Writes one file atomically, even if the power fails.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn write_file(&self, name: &str, contents: &[u8]) -> Result<(), ReportError> {
        let path = self.path.join(name);
        let write = || {
            self.unfinished(contents)?.persist(&path)?;
            sync_folder(&self.path)
        };
        write().map_err(|cause| ReportError::Write { path: path.clone(), cause })
    }

    /// A file with these contents that has no name yet.
    fn unfinished(&self, contents: &[u8]) -> io::Result<NamedTempFile> {
        // In the same folder, since only there is renaming atomic.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.path)?;
        file.write_all(contents)?;
        make_readable(file.as_file())?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// A file's contents; none if it does not exist.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn read_file(&self, name: &str) -> Result<Option<Vec<u8>>, ReportError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(contents) => Ok(Some(contents)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(ReportError::Read { path, cause }),
        }
    }

    /// The names of the files with an ending, sorted.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn files(&self, ending: &str) -> Result<Vec<String>, ReportError> {
        let refuse = |cause| ReportError::Read { path: self.path.clone(), cause };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(refuse)? {
            let name = entry.map_err(refuse)?.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|of| of == ending) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Writes `settings.toml`, and returns it as a table.
    ///
    /// # Errors
    /// If a setting cannot be represented in TOML, or the file cannot be written.
    pub fn write_settings(&self, settings: &impl Serialize) -> Result<toml::Table, ReportError> {
        let table = settings_table(settings)?;
        self.write_file("settings.toml", settings_toml(&table)?.as_bytes())?;
        Ok(table)
    }

    /// The settings in `settings.toml`.
    ///
    /// # Errors
    /// If there are none, or not those of an experiment.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, ReportError> {
        let path = self.path.join("settings.toml");
        let text = fs::read_to_string(&path)
            .map_err(|cause| ReportError::Read { path: path.clone(), cause })?;
        toml::from_str(&text)
            .map_err(|cause| ReportError::Damaged { path, what: cause.message().into() })
    }

    /// The report of a complete run, without its series; none if it is not complete.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn report(&self) -> Result<Option<RunReport>, ReportError> {
        let Some(json) = self.read_file(SUMMARY)? else { return Ok(None) };
        serde_json::from_slice(&json).map(Some).map_err(|cause| ReportError::Damaged {
            path: self.path.join(SUMMARY),
            what: cause.to_string(),
        })
    }

    /// The same, with the series of `metrics.csv`.
    ///
    /// # Errors
    /// If one of the two files cannot be read.
    pub fn report_with_series(&self) -> Result<Option<RunReport>, ReportError> {
        let Some(mut report) = self.report()? else { return Ok(None) };
        let rows = self.read_file(METRICS)?.unwrap_or_default();
        let damaged = |cause: csv::Error| ReportError::Damaged {
            path: self.path.join(METRICS),
            what: cause.to_string(),
        };
        let mut rows = csv::Reader::from_reader(&rows[..]);
        let names = rows.headers().map_err(damaged)?.clone();
        for row in rows.into_records() {
            let row = row.map_err(damaged)?;
            let record: StepRecord = row.deserialize(Some(&names)).map_err(damaged)?;
            let named =
                |method: &&mut MethodReport| !method.baseline && row.get(0) == Some(&method.name);
            if let Some(method) = report.methods.iter_mut().find(named) {
                method.series.push(record);
            }
        }
        Ok(Some(report))
    }
}

/// Written last: a folder that has it is complete.
pub(crate) const SUMMARY: &str = "summary.json";
pub(super) const METRICS: &str = "metrics.csv";

/// Temporary files are private to their owner; a report is for everyone who may read the folder.
fn make_readable(file: &fs::File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    let _ = file;
    Ok(())
}

/// Makes the entries of a folder durable, even if the power fails.
fn sync_folder(path: &Path) -> io::Result<()> {
    // On other systems a folder cannot be opened as a file.
    #[cfg(unix)]
    fs::File::open(path)?.sync_all()?;
    let _ = path;
    Ok(())
}

/// The version of the format of `summary.json`; docs/RUNS.md describes it.
pub const SCHEMA: u32 = 1;

/// The contents of a `summary.json`, with the version of its format.
#[derive(Serialize)]
pub(crate) struct Versioned<'a, T> {
    pub schema: u32,
    #[serde(flatten)]
    pub contents: &'a T,
}

impl<T: Serialize> Versioned<'_, T> {
    /// As indented JSON.
    pub fn json(contents: &T) -> Result<String, ReportError> {
        let json = serde_json::to_string_pretty(&Versioned { schema: SCHEMA, contents });
        json.map(|json| json + "\n")
            .map_err(|e| ReportError::Format { file: SUMMARY, what: e.to_string() })
    }
}

/// The report without its series, as indented JSON.
///
/// # Errors
/// If a setting cannot be represented in JSON.
pub fn summary_json(report: &RunReport) -> Result<String, ReportError> {
    Versioned::json(report)
}

/// Settings as a table.
///
/// # Errors
/// If a setting cannot be represented in TOML.
pub fn settings_table(settings: &impl Serialize) -> Result<toml::Table, ReportError> {
    toml::Table::try_from(settings)
        .map_err(|cause| ReportError::Format { file: "settings.toml", what: cause.to_string() })
}

/// Settings as TOML.
///
/// # Errors
/// If a setting cannot be represented in TOML.
pub fn settings_toml(settings: &toml::Table) -> Result<String, ReportError> {
    toml::to_string_pretty(settings)
        .map_err(|e| ReportError::Format { file: "settings.toml", what: e.to_string() })
}

/// A row of `metrics.csv`.
#[derive(Serialize)]
struct Row<'a>(&'a str, &'a StepRecord, bool);

const COLUMNS: [&str; 11] = [
    "method",
    "step",
    "seconds",
    "upper_loss",
    "lower_loss",
    "test_accuracy",
    "f1",
    "grad_norm",
    "calls",
    "retrained",
    "baseline",
];

/// The series of all methods, one row per method and step; for a baseline also its result, unless that is its last row.
///
/// # Errors
/// None known; the CSV writer's signature allows for some.
pub fn metrics_csv(report: &RunReport) -> Result<Vec<u8>, ReportError> {
    let refuse = |what: String| ReportError::Format { file: METRICS, what };
    let mut rows = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    rows.write_record(COLUMNS).map_err(|e| refuse(e.to_string()))?;
    for method in &report.methods {
        let last = method.series.last();
        let is_there = last.is_some_and(|last| last.test_accuracy == method.test_accuracy);
        let end = (method.baseline && !is_there).then(|| method.end());
        for record in method.series.iter().chain(&end) {
            rows.serialize(Row(&method.name, record, method.baseline))
                .map_err(|e| refuse(e.to_string()))?;
        }
    }
    rows.into_inner().map_err(|e| refuse(e.to_string()))
}
