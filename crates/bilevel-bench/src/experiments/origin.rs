//! The origin of a run: the version, the data, the processor. Results may depend on each.

use bilevel_data::digest;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::command_line;
use crate::report::ReportError;
use crate::report::folder::{RunFolder, settings_table, settings_toml};

/// The key of `settings.toml` that holds an [`Origin`].
pub(crate) const ORIGIN: &str = "made-by";

const DATA: &str = "data";
const DATA_BEFORE: &str = "data-before";

/// The origin of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Origin {
    /// The version of the binary.
    pub version: String,
    /// The fingerprint of the data.
    pub data: String,
    /// The kind of processor, and the vector instructions that kernels may use.
    pub processor: String,
    /// Threads that kernels share.
    pub threads: usize,
    /// The commit of the binary, if it was built from a repository; otherwise empty.
    #[serde(default)]
    pub commit: String,
    /// When it began, in UTC.
    #[serde(default)]
    pub began: String,
    /// The command line.
    #[serde(default)]
    pub command: String,
    /// The fingerprints of the data before, the first one first, if it changed and the run went on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_before: Vec<String>,
}

impl Origin {
    /// This binary on this machine, with this data.
    pub fn here(data: String) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            data,
            processor: processor(),
            threads: rayon::current_num_threads(),
            commit: env!("BILEVEL_COMMIT").into(),
            began: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            command: command(),
            data_before: Vec::new(),
        }
    }

    /// The origin of the run of `folder` from now on, since it goes on here. Another commit or processor is a warning, and
    /// so is another version, if `accepted`. Other data, if `accepted`, is written to `settings.toml`.
    ///
    /// # Errors
    /// If the data or the version is other and not `accepted`; if `settings.toml` cannot be written.
    pub fn resumed(
        mut self,
        here: Self,
        folder: &RunFolder,
        accepted: bool,
    ) -> Result<Self, ReportError> {
        for (what, began, here) in
            [("version", &self.version, &here.version), ("data", &self.data, &here.data)]
        {
            if began != here && !accepted {
                return Err(ReportError::Changed {
                    path: folder.path().into(),
                    what,
                    began: began.clone(),
                    here: here.clone(),
                });
            }
        }
        for (what, began, here) in [
            ("version", &self.version, &here.version),
            ("commit", &self.commit, &here.commit),
            ("processor", &self.processor, &here.processor),
        ] {
            if began != here {
                tracing::warn!(
                    "the run began with {what} {began:?}, here is {here:?}: its numbers may differ from those of an \
                     uninterrupted run"
                );
            }
        }
        if self.data == here.data {
            return Ok(self);
        }
        self.data_before.push(std::mem::replace(&mut self.data, here.data));
        let mut table: Table = folder.settings()?;
        table.insert(ORIGIN.into(), settings_table(&self)?.into());
        folder.write_settings(&table)?;
        if let Some(text) = changed_data(&table) {
            tracing::warn!("{text}");
        }
        Ok(self)
    }
}

/// That the data changed in the middle of the run of these settings, if it did.
pub(crate) fn changed_data(settings: &Table) -> Option<String> {
    let origin = settings.get(ORIGIN)?;
    let began = origin.get(DATA_BEFORE)?.get(0)?.as_str()?;
    let now = origin.get(DATA)?.as_str()?;
    Some(format!(
        "the data changed in the middle of the run, which began with {began} and went on with {now}; for results of \
         one data set start the run anew"
    ))
}

/// The fingerprint of `settings.toml` as the run began, which its checkpoints and results know. Data that was accepted
/// later does not change it.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn fingerprint(folder: &RunFolder) -> Result<String, ReportError> {
    let mut table: Table = folder.settings()?;
    if let Some(origin) = table.get_mut(ORIGIN).and_then(Value::as_table_mut)
        && let Some(Value::Array(before)) = origin.remove(DATA_BEFORE)
        && let Some(began) = before.into_iter().next()
    {
        origin.insert(DATA.into(), began);
    }
    Ok(digest(&settings_toml(&table)?.into_bytes()))
}

/// The command line.
fn command() -> String {
    let given = std::env::args_os().skip(1);
    let words: Vec<String> = given.map(|word| word.to_string_lossy().into_owned()).collect();
    command_line(std::iter::once("bilevel").chain(words.iter().map(String::as_str)))
}

/// The kind of processor, and its vector instructions.
fn processor() -> String {
    let mut features = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    for (name, there) in [
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
    ] {
        if there {
            features.push(name);
        }
    }
    features.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_resumed_by_another_commit_and_not_on_other_data_unless_these_are_accepted() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "run").unwrap().hold().unwrap();
        let here = Origin::here("b".into());
        let began =
            Origin { processor: "another".into(), commit: "another".into(), ..here.clone() };
        // With a warning each.
        assert_eq!(began.clone().resumed(here.clone(), &folder, false).unwrap(), began);
        let began = Origin { version: "0.0.0".into(), ..here.clone() };
        let error = began.clone().resumed(here.clone(), &folder, false).unwrap_err().to_string();
        assert!(error.contains("version 0.0.0, here is") && error.contains("--accept"), "{error}");
        assert_eq!(began.clone().resumed(here.clone(), &folder, true).unwrap(), began);

        let began = Origin { data: "a".into(), ..here.clone() };
        let mut settings = Table::new();
        settings.insert("seed".into(), 1.into());
        settings.insert(ORIGIN.into(), settings_table(&began).unwrap().into());
        folder.write_settings(&settings).unwrap();
        let text = folder.read_file("settings.toml").unwrap().unwrap();
        let print = fingerprint(&folder).unwrap();
        assert_eq!((print.clone(), changed_data(&settings)), (digest(&text), None));
        let error = began.clone().resumed(here.clone(), &folder, false).unwrap_err().to_string();
        assert!(error.contains("data a, here is b") && error.contains("--accept"), "{error}");
        assert_eq!(folder.settings::<Table>().unwrap(), settings);

        for (data, before) in [("b", vec!["a"]), ("b", vec!["a"]), ("c", vec!["a", "b"])] {
            let read = folder.settings::<Table>().unwrap()[ORIGIN].clone().try_into::<Origin>();
            let here = Origin::here(data.into());
            let after = read.unwrap().resumed(here, &folder, true).unwrap();
            let table: Table = folder.settings().unwrap();
            assert_eq!(table[ORIGIN], settings_table(&after).unwrap().into());
            assert_eq!(
                (&*after.data, after.data_before),
                (data, before.into_iter().map(String::from).collect())
            );
            assert_eq!(fingerprint(&folder).unwrap(), print);
            let said = changed_data(&table).unwrap();
            assert!(said.contains(&format!("began with a and went on with {data}")), "{said}");
        }
    }
}
