//! Folders that are not runs of an experiment, but are also written in parts: settings and origin first, results after
//! each part, and last the table, whose file marks the folder as complete.

use std::cell::RefCell;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

use super::origin::{Accepted, ORIGIN, Origin, changed, fingerprint};
use crate::error::BenchError;
use crate::report::ReportError;
use crate::report::folder::{LockedFolder, RunFolder, settings_table};
use crate::settings::refuse;

/// The rows of the parts that are done, by name.
pub(crate) const RUNS: &str = "runs.csv";
/// The file that is written last.
const TABLE: &str = "table.txt";

/// A folder owned by this process, and the contents of its `settings.toml`.
pub(crate) struct Partly<S> {
    pub folder: LockedFolder,
    pub settings: S,
    /// The fingerprint of `settings.toml`, stored with the results: they are not completed with other settings.
    pub fingerprint: String,
    /// The origin that the next rows come from.
    accepted: RefCell<Accepted>,
}

/// What remains to be done in a folder.
pub(crate) enum Left<S> {
    /// Nothing: here is the table.
    Nothing(String),
    /// The rest.
    Rest(Partly<S>),
}

impl<S: Serialize + DeserializeOwned> Partly<S> {
    /// Creates a folder `name` under `root`, for results with this origin.
    ///
    /// # Errors
    /// If it cannot be created or written.
    pub fn create(
        settings: S,
        origin: &Origin,
        root: &Path,
        name: &str,
    ) -> Result<Self, ReportError> {
        let mut table = settings_table(&settings)?;
        table.insert(ORIGIN.into(), settings_table(origin)?.into());
        let folder = RunFolder::create(root, name)?.hold()?;
        folder.write_settings(&table)?;
        Self::of(folder, settings, Accepted::default())
    }

    /// Takes a folder created by [`Self::create`]. `data` is called for the fingerprint of the data here; another
    /// version or other data than before may be `accepted`.
    ///
    /// # Errors
    /// If it cannot be read, another process uses it, or it is from other data.
    pub fn resume<E: From<ReportError>>(
        folder: &RunFolder,
        data: impl Fn(&S) -> Result<String, E>,
        accepted: bool,
    ) -> Result<Left<S>, E> {
        if let Some(table) = read_table(folder)? {
            return Ok(Left::Nothing(table));
        }
        let folder = folder.hold()?;
        // The previous owner of the folder may have completed it.
        if let Some(table) = read_table(&folder)? {
            return Ok(Left::Nothing(table));
        }
        let (settings, began) = read_settings(&folder)?;
        let is_new = folder.read_file(RUNS)?.is_none();
        let here = Origin::here(data(&settings)?);
        let accepted = began.resumed(here, &folder, accepted, is_new)?;
        Ok(Left::Rest(Self::of(folder, settings, accepted)?))
    }

    /// A complete folder, to write its page and figures again.
    ///
    /// # Errors
    /// If it is not complete or cannot be read, or another process uses it.
    pub fn done(folder: &RunFolder) -> Result<Self, BenchError> {
        if read_table(folder)?.is_none() {
            let (found, cure) = (folder.path().display(), crate::error::resume(folder.path()));
            return Err(refuse("RUN", found, "a folder that is complete", cure));
        }
        let folder = folder.hold()?;
        let (settings, _) = read_settings(&folder)?;
        Ok(Self::of(folder, settings, Accepted::default())?)
    }

    fn of(folder: LockedFolder, settings: S, accepted: Accepted) -> Result<Self, ReportError> {
        let fingerprint = fingerprint(&folder)?;
        // Results are written after each part.
        let resume = crate::error::resume(folder.path());
        crate::interrupt::at_once(format!("interrupted: what is done is kept\n{resume}"));
        Ok(Self { folder, settings, fingerprint, accepted: accepted.into() })
    }

    /// Whether the results are from these settings.
    ///
    /// # Errors
    /// If not.
    pub fn check(&self, fingerprint: &str) -> Result<(), ReportError> {
        if fingerprint == self.fingerprint {
            return Ok(());
        }
        Err(ReportError::Other {
            path: self.folder.path().into(),
            what: "settings",
            began: fingerprint.into(),
            here: self.fingerprint.clone(),
        })
    }

    /// The rows of a CSV of the folder; none if it does not exist.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn rows<R: DeserializeOwned>(&self, file: &str) -> Result<Vec<R>, ReportError> {
        let Some(bytes) = self.folder.read_file(file)? else { return Ok(Vec::new()) };
        let rows = csv::Reader::from_reader(&bytes[..]).into_deserialize();
        rows.collect::<Result<_, _>>().map_err(|cause: csv::Error| ReportError::Damaged {
            path: self.folder.path().join(file),
            what: cause.to_string(),
        })
    }

    /// Writes a CSV, after where its new rows come from; none without a row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_rows<R: Serialize>(
        &self,
        file: &'static str,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<(), ReportError> {
        self.accepted.take().write()?;
        let refuse = |what: String| ReportError::Format { file, what };
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in rows {
            writer.serialize(row).map_err(|e| refuse(e.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|e| refuse(e.to_string()))?;
        // Not even the names of columns are known without a row.
        if bytes.is_empty() { Ok(()) } else { self.folder.write_file(file, &bytes) }
    }

    /// That version or data changed before the folder was complete, if one did.
    ///
    /// # Errors
    /// If `settings.toml` cannot be read.
    pub fn changed(&self) -> Result<Option<String>, ReportError> {
        Ok(changed(&self.folder.settings()?))
    }

    /// Writes the table, which completes the folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end(&self, mut table: String) -> Result<String, ReportError> {
        if let Some(text) = self.changed()? {
            table += &format!("\norigin: {text}\n");
        }
        self.folder.write_file(TABLE, table.as_bytes())?;
        Ok(table)
    }
}

fn read_table(folder: &RunFolder) -> Result<Option<String>, ReportError> {
    let table = folder.read_file(TABLE)?;
    Ok(table.map(|table| String::from_utf8_lossy(&table).into_owned()))
}

/// The settings of the folder, and its origin.
fn read_settings<S: DeserializeOwned>(folder: &RunFolder) -> Result<(S, Origin), ReportError> {
    let damaged = |what: String| {
        let path = folder.path().join("settings.toml");
        ReportError::Damaged { path, what }
    };
    let mut table: Table = folder.settings()?;
    let origin = table.remove(ORIGIN).ok_or_else(|| damaged(format!("no `{ORIGIN}`")))?;
    let origin = origin.try_into().map_err(|e: toml::de::Error| damaged(e.message().into()))?;
    let settings =
        table.try_into().map_err(|e: toml::de::Error| damaged(e.message().to_owned()))?;
    Ok((settings, origin))
}
