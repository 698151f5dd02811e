//! The origin of a run: the version, the data, the processor. Results may depend on each.

use std::mem::replace;

use bilevel_data::digest;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::command_line;
use crate::report::ReportError;
use crate::report::folder::{RunFolder, settings_table, settings_toml};

/// The key of `settings.toml` that holds an [`Origin`].
pub(crate) const ORIGIN: &str = "made-by";

const VERSION: &str = "version";
const DATA: &str = "data";
const COMMIT: &str = "commit";

/// What is refused if it changed, unless accepted: its key, the key of its earlier values, and what it is called.
const KEPT: [(&str, &str, &str); 2] =
    [(VERSION, "version-before", "version of bilevel"), (DATA, "data-before", "data")];

/// What the origin of a folder that does not tell it is called.
const UNKNOWN: &str = "unknown";

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
    /// The oracle calls of the probes of `auto`, not counted among those of a method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<u64>,
    /// The versions before, the first one first, if another one went on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub version_before: Vec<String>,
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
            probes: None,
            version_before: Vec::new(),
            data_before: Vec::new(),
        }
    }

    /// That of a folder which does not tell it: nothing here is the same.
    pub fn unknown() -> Self {
        let unknown = || UNKNOWN.to_owned();
        Self {
            version: unknown(),
            processor: unknown(),
            commit: unknown(),
            threads: 0,
            began: String::new(),
            command: String::new(),
            ..Self::here(unknown())
        }
    }

    /// Lets the run of `folder` go on here. Another version or other data must be `accepted`; another commit or processor
    /// is a warning. A run that `is_new`, without any result yet, begins here: its origin is written at once. That of
    /// another run, if it changed, is to be written with the first result that comes from it.
    ///
    /// # Errors
    /// If version or data changed and are not `accepted`; if `settings.toml` cannot be written.
    pub fn resumed(
        self,
        here: Self,
        folder: &RunFolder,
        accepted: bool,
        is_new: bool,
    ) -> Result<Accepted, ReportError> {
        for (what, began, here) in
            [(VERSION, &self.version, &here.version), (DATA, &self.data, &here.data)]
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
        if is_new {
            let Self { began, command, probes, .. } = self;
            let origin = Self { began, command, probes, ..here };
            Accepted(Some(Box::new((folder.clone(), origin)))).write()?;
            return Ok(Accepted::default());
        }
        for (what, began, here) in
            [(COMMIT, &self.commit, &here.commit), ("processor", &self.processor, &here.processor)]
        {
            if began != here {
                tracing::warn!(
                    "the run began with {what} {began:?}, here is {here:?}: its numbers may differ from those of an \
                     uninterrupted run"
                );
            }
        }
        let mut now = self.clone();
        if now.version != here.version {
            now.version_before.push(replace(&mut now.version, here.version));
            now.commit = here.commit;
        }
        if now.data != here.data {
            now.data_before.push(replace(&mut now.data, here.data));
        }
        Ok(Accepted((now != self).then(|| Box::new((folder.clone(), now)))))
    }
}

/// The origin of a run that goes on elsewhere than it began, until the first result that comes from it is written: a run
/// that ends before keeps its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepted(Option<Box<(RunFolder, Origin)>>);

impl Accepted {
    /// Writes it to `settings.toml`, unless it is there.
    ///
    /// # Errors
    /// If `settings.toml` cannot be read or written.
    pub fn write(&mut self) -> Result<(), ReportError> {
        let Some(accepted) = self.0.take() else { return Ok(()) };
        let (folder, origin) = *accepted;
        let mut table: Table = folder.settings()?;
        let origin = settings_table(&origin)?.into();
        if table.get(ORIGIN) == Some(&origin) {
            return Ok(());
        }
        table.insert(ORIGIN.into(), origin);
        folder.write_settings(&table)?;
        if let Some(text) = changed(&table) {
            tracing::warn!("{text}");
        }
        Ok(())
    }
}

/// The oracle calls of the probes of `auto` for the run of these settings, if there were any.
pub(crate) fn probes(settings: &Table) -> Option<i64> {
    settings.get(ORIGIN)?.get("probes")?.as_integer()
}

/// That the version or the data changed in the middle of the run of these settings, if one did.
pub(crate) fn changed(settings: &Table) -> Option<String> {
    let origin = settings.get(ORIGIN)?;
    let of = |(now, before, what): (&str, &str, &str)| {
        let began = origin.get(before)?.get(0)?.as_str()?;
        let now = origin.get(now)?.as_str()?;
        Some(format!(
            "the {what} changed in the middle of the run, which began with {began} and went on with {now}"
        ))
    };
    let all: Vec<String> = KEPT.into_iter().filter_map(of).collect();
    let cure = "for results of one origin start the run anew";
    (!all.is_empty()).then(|| format!("{}; {cure}", all.join("; ")))
}

/// The fingerprint of the settings as the run began, which its checkpoints and results know; a version or data that was
/// accepted later, with the commit, does not change it.
///
/// It is that of what `settings.toml` says, written anew, and not of its bytes: a key or value that was edited is another
/// run, even one that no result depends on, since the results would not be those of the file; a comment, a blank line or
/// `1e-1` in place of `0.1` says the same.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn fingerprint(folder: &RunFolder) -> Result<String, ReportError> {
    let mut table: Table = folder.settings()?;
    if let Some(origin) = table.get_mut(ORIGIN).and_then(Value::as_table_mut) {
        for (now, before, _) in KEPT {
            if let Some(Value::Array(before)) = origin.remove(before)
                && let Some(began) = before.into_iter().next()
            {
                origin.insert(now.into(), began);
            }
        }
        origin.remove(COMMIT);
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
    use crate::report::folder::LockedFolder;

    /// A folder whose settings have this origin.
    fn begun(origin: &Origin) -> (tempfile::TempDir, LockedFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "run").unwrap().hold().unwrap();
        let mut settings = Table::new();
        settings.insert("seed".into(), 1.into());
        settings.insert("rate".into(), 0.1.into());
        settings.insert(ORIGIN.into(), settings_table(origin).unwrap().into());
        folder.write_settings(&settings).unwrap();
        (root, folder)
    }

    fn origin(folder: &RunFolder) -> Origin {
        folder.settings::<Table>().unwrap()[ORIGIN].clone().try_into().unwrap()
    }

    fn text(folder: &RunFolder) -> String {
        String::from_utf8(folder.read_file("settings.toml").unwrap().unwrap()).unwrap()
    }

    /// Another version and other data, alone and together, without and with results.
    #[test]
    fn what_changed_is_refused_or_accepted_once_and_told_for_ever_if_there_are_results() {
        let here = Origin::here("a".into());
        let of = |version: &str, data: &str| {
            let (version, commit) = (version.into(), format!("commit of {version}"));
            Origin { version, commit, data: data.into(), ..here.clone() }
        };
        for (began, now) in
            [(["1", "a"], ["2", "a"]), (["1", "a"], ["1", "b"]), (["1", "a"], ["2", "b"])]
        {
            for is_new in [false, true] {
                let [first, next] = [began, now].map(|[version, data]| of(version, data));
                let (_root, folder) = begun(&first);
                let (whole, print) = (text(&folder), fingerprint(&folder).unwrap());
                let refused = first.clone().resumed(next.clone(), &folder, false, is_new);
                let error = refused.unwrap_err().to_string();
                assert!(error.contains("--accept-changes"), "{error}");
                let mut accepted =
                    first.clone().resumed(next.clone(), &folder, true, is_new).unwrap();
                assert_eq!(
                    text(&folder) == whole,
                    !is_new,
                    "written before a result comes from it"
                );
                accepted.write().unwrap();
                let told = changed(&folder.settings().unwrap());
                assert_eq!(fingerprint(&folder).unwrap() == print, !is_new);
                let found = origin(&folder);
                assert_eq!([&found.version, &found.data], now);
                assert_eq!(found.commit, format!("commit of {}", now[0]));
                for (at, before, what) in [
                    (0, &found.version_before, "version of bilevel"),
                    (1, &found.data_before, "data"),
                ] {
                    let expected = (began[at] != now[at] && !is_new).then_some(began[at]);
                    assert_eq!(
                        before.iter().map(String::as_str).collect::<Vec<_>>(),
                        Vec::from_iter(expected)
                    );
                    let says = format!(
                        "the {what} changed in the middle of the run, which began with {}",
                        began[at]
                    );
                    assert_eq!(
                        told.as_ref().is_some_and(|told| told.contains(&says)),
                        expected.is_some()
                    );
                }
                // What was accepted is what the run is from.
                let whole = text(&folder);
                origin(&folder).resumed(next, &folder, false, false).unwrap().write().unwrap();
                assert_eq!(text(&folder), whole);
            }
        }
    }

    #[test]
    fn every_origin_of_a_run_is_kept_in_order_and_its_fingerprint_stays() {
        let (_root, folder) = begun(&Origin::here("a".into()));
        let print = fingerprint(&folder).unwrap();
        for (data, before) in
            [("b", vec!["a"]), ("b", vec!["a"]), ("c", vec!["a", "b"]), ("a", vec!["a", "b", "c"])]
        {
            origin(&folder)
                .resumed(Origin::here(data.into()), &folder, true, false)
                .unwrap()
                .write()
                .unwrap();
            assert_eq!(
                (&*origin(&folder).data, origin(&folder).data_before),
                (data, before.into_iter().map(String::from).collect())
            );
            assert_eq!(fingerprint(&folder).unwrap(), print);
        }
    }

    #[test]
    fn another_commit_or_processor_is_a_warning() {
        let here = Origin::here("a".into());
        let began =
            Origin { processor: "another".into(), commit: "another".into(), ..here.clone() };
        let (_root, folder) = begun(&began);
        began.clone().resumed(here, &folder, false, false).unwrap().write().unwrap();
        assert_eq!(origin(&folder), began);
    }

    #[test]
    fn a_fingerprint_is_of_what_settings_say_and_not_of_how() {
        let (_root, folder) = begun(&Origin::here("a".into()));
        let (whole, print) = (text(&folder), fingerprint(&folder).unwrap());
        let of = |text: &str| {
            folder.write_file("settings.toml", text.as_bytes()).unwrap();
            fingerprint(&folder).unwrap()
        };
        for same in [
            format!("# a comment\n\n{whole}"),
            whole.replace("seed = 1", "seed   =  0x1  # the first"),
            whole.replace("rate = 0.1", "rate = 1e-1\n\n"),
        ] {
            assert!(same != whole && of(&same) == print, "{same}");
        }
        for other in [
            whole.replace("seed = 1", "seed = 2"),
            whole.replace("seed = 1", "seed = 1.0"),
            whole.replace("seed = 1", "seed = 1\nmore = 1"),
            whole.replace("rate = 0.1\n", ""),
            whole.replace("data = \"a\"", "data = \"b\""),
            whole.replace("threads", "threats"),
        ] {
            assert!(other != whole && of(&other) != print, "{other}");
        }
    }
}
