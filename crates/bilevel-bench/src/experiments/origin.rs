//! The origin of a run: the version, the data, the processor. Results may depend on each.

use serde::{Deserialize, Serialize};

use crate::error::command_line;
use crate::report::ReportError;
use crate::report::folder::RunFolder;

/// The key of `settings.toml` that holds an [`Origin`].
pub(crate) const ORIGIN: &str = "made-by";

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
        }
    }

    /// Whether the run of `folder` can be resumed here.
    ///
    /// # Errors
    /// If it was begun on other data, or by another version.
    pub fn check(&self, here: &Self, folder: &RunFolder) -> Result<(), ReportError> {
        let other = |what, began: &str, here: &str| ReportError::Other {
            path: folder.path().into(),
            what,
            began: began.into(),
            here: here.into(),
        };
        if self.data != here.data {
            return Err(other("data", &self.data, &here.data));
        }
        if self.version != here.version {
            return Err(other("version", &self.version, &here.version));
        }
        if self.processor != here.processor {
            tracing::warn!(
                "the run began on {}, this is {}: the last bits of its numbers may differ",
                self.processor,
                here.processor
            );
        }
        Ok(())
    }
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
    fn a_run_is_resumed_on_another_processor_and_not_on_other_data_or_by_another_version() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(root.path(), "run").unwrap();
        let here = Origin::here("a".into());
        let of = |change: fn(&mut Origin)| {
            let mut began = here.clone();
            change(&mut began);
            began.check(&here, &folder).map_err(|error| error.to_string())
        };
        assert_eq!(of(|_| ()), Ok(()));
        // With a warning: the last bits may differ.
        assert_eq!(of(|began| began.processor = "another".into()), Ok(()));
        for (changed, what) in [
            (of(|began| began.data = "b".into()), "data"),
            (of(|began| began.version = "0.0.0".into()), "version"),
        ] {
            assert!(changed.is_err_and(|text| text.contains(what)), "{what}");
        }
    }
}
