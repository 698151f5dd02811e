//! Settings: stated once, as the fields of a struct, and read from defaults, files and flags.
//!
//! An experiment's settings are one struct that derives clap's `Args` and serde: the name of a field is that of the
//! flag and of the key in TOML, its documentation is the help text, its type is its range. Defaults and presets are
//! files of `assets/presets` ([`defaults`]).

mod chosen;
pub mod defaults;
mod methods;
mod number;
mod options;

pub use chosen::{Baseline, Chosen};
pub(crate) use methods::offered;
pub use methods::{Catalogued, Methods, Offered};
pub use number::{AUTO, CALLS, Count, NonNegative, OutOfRange, Positive, SEEDS, Share, StepSize};
pub(crate) use number::{calls, seeds};
pub use options::{Common, LinearSystem, LowerLevel, Split, UpperLevel};

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use self::defaults::Defaults;
use crate::error::BenchError;

/// All settings of an experiment.
pub trait Settings: Args + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The methods that the experiment offers.
    type Method: Offered;

    /// The settings that all experiments have.
    fn common(&self) -> &Common;

    /// The same, mutably.
    fn common_mut(&mut self) -> &mut Common;

    /// The methods of the run, in its order.
    fn methods(&self) -> &[Self::Method];

    /// Derives settings from others.
    ///
    /// # Errors
    /// If it cannot.
    fn complete(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    /// Whether `method` reads a setting.
    fn reads(method: &Self::Method, setting: &str) -> bool {
        method.reads().contains(&setting)
    }

    /// Whether the settings go together. The range of each alone is part of its type.
    ///
    /// # Errors
    /// The first that does not, and the cure.
    fn check(&self) -> Result<(), BenchError> {
        Ok(())
    }
}

/// The common part of every implementation of [`Settings`]: that of a struct with the fields `common` and `method`, the
/// latter a list of `$method`.
macro_rules! of_fields {
    ($method:ty) => {
        type Method = $method;

        fn common(&self) -> &$crate::settings::Common {
            &self.common
        }

        fn common_mut(&mut self) -> &mut $crate::settings::Common {
            &mut self.common
        }

        fn methods(&self) -> &[$method] {
            &self.method
        }
    };
}

pub(crate) use of_fields;

/// The subcommand of an experiment, with its defaults in the help: those where the settings `given` are.
pub fn command<S: Settings>(command: Command, defaults: &Defaults, given: &Table) -> Command {
    let mut command = S::augment_args(command).after_help(
        "Some defaults depend on other settings: --dry-run prints all settings of a run.",
    );
    for (key, value) in defaults.complete(given) {
        let text = match &value {
            Value::String(text) => text.clone(),
            Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        command =
            command.mut_arg(key.replace('-', "_"), |arg| arg.required(false).default_value(text));
    }
    let presets = defaults.presets();
    command.mut_arg("preset", |arg| {
        if presets.is_empty() {
            return arg.hide(true);
        }
        arg.value_parser(clap::builder::PossibleValuesParser::new(presets))
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The settings given by the flags of a command line.
///
/// # Errors
/// Those of clap; a command made by [`command`] has already found wrong values.
pub fn flags<S: Settings>(matches: &ArgMatches) -> Result<Table, clap::Error> {
    let settings = S::from_arg_matches(matches)?;
    let mut table = Table::try_from(&settings).map_err(|error| {
        clap::Error::raw(clap::error::ErrorKind::InvalidValue, format!("{error}\n"))
    })?;
    let given = |key: &str| {
        let id = key.replace('-', "_");
        matches.try_contains_id(&id).unwrap_or(false)
            && matches.value_source(&id) == Some(ValueSource::CommandLine)
    };
    table.retain(|key, _| given(key));
    Ok(table)
}

/// Reads complete settings, such as those of `settings.toml`.
///
/// # Errors
/// If one is missing, unknown, outside its range, or does not fit the others.
pub fn checked<S: Settings>(table: &Table) -> Result<S, BenchError> {
    let known = names::<S>();
    if let Some((key, expected)) = defaults::unknown(table, &known) {
        return Err(refuse(
            key.to_owned(),
            "given",
            &expected,
            "leave it out, or correct its name",
        ));
    }
    let settings: S = table.clone().try_into().map_err(|error: toml::de::Error| {
        refuse("a setting", error.message(), "settings in their ranges", "correct it")
    })?;
    settings.check()?;
    Ok(settings)
}

/// All settings, given the user's settings `given`: completed, with absolute paths, and checked.
///
/// # Errors
/// If one is unknown, outside its range, does not fit the others, or is not read by any method of the run.
pub fn complete<S: Settings>(defaults: &Defaults, given: &Table) -> Result<Table, BenchError> {
    let known = names::<S>();
    if let Some((key, expected)) = defaults::unknown(given, &known) {
        return Err(refuse(
            key.to_owned(),
            "given",
            &expected,
            "leave it out, or correct its name",
        ));
    }
    if let Some(preset) = given.get("preset").map(plain)
        && !defaults.presets().contains(&preset)
    {
        let expected = match defaults.presets().join(", ") {
            none if none.is_empty() => "none: this experiment has no presets".to_owned(),
            presets => presets,
        };
        return Err(refuse("--preset", preset, &expected, "take one of these, or none"));
    }
    let whole = defaults.complete(given);
    let mut settings: S = whole.try_into().map_err(|error: toml::de::Error| {
        // Under flattened structs serde does not say which: each is tested alone.
        let culprit = given.iter().find(|(key, value)| {
            let mut one = defaults.complete(&Table::new());
            one.insert((*key).clone(), (*value).clone());
            one.try_into::<S>().is_err()
        });
        let (key, found) = culprit.map_or(("a setting".into(), String::new()), |(key, value)| {
            (format!("--{key}"), plain(value))
        });
        refuse(key, found, error.message(), "give a value in this range")
    })?;
    settings.complete()?;
    let common = settings.common_mut();
    if let Some(dir) = &mut common.data_dir {
        *dir = absolute("--data-dir", dir)?;
    }
    common.device = common.device.resolve()?;
    settings.check()?;
    let table = Table::try_from(&settings)
        .map_err(|error| refuse("a setting", error, "values that TOML can hold", "take another"))?;
    if !is_auto(&table, "method") {
        read_by_none(&settings, given)?;
    }
    Ok(table)
}

/// Whether a setting is, or names among others, what is to be [chosen](AUTO).
pub fn is_auto(table: &Table, setting: &str) -> bool {
    let is = |value: &Value| value.as_str() == Some(AUTO);
    match table.get(setting) {
        Some(Value::Array(names)) => names.iter().any(is),
        Some(value) => is(value),
        None => false,
    }
}

/// Options that experiments read for every method.
const OF_ALL: [&str; 4] = ["lower-steps", "step-size", "upper-steps", "learning-rate"];

/// Refuses an option that no method of the run reads.
fn read_by_none<S: Settings>(settings: &S, given: &Table) -> Result<(), BenchError> {
    for key in given.keys().filter(|key| !OF_ALL.contains(&key.as_str())) {
        let reads = |method: &S::Method| S::reads(method, key);
        let all = S::Method::all();
        let readers: Vec<_> = all.iter().filter(|method| reads(method)).collect();
        if readers.is_empty() || settings.methods().iter().any(reads) {
            continue;
        }
        let names = |methods: Vec<String>| methods.join(", ");
        let run = names(settings.methods().iter().map(S::Method::name).collect());
        let expected = format!(
            "a method that reads it: {}",
            names(readers.iter().map(|m| m.name()).collect())
        );
        let found = format!("given, and none of {run} reads it");
        return Err(refuse(
            format!("--{key}"),
            found,
            &expected,
            "name one of these, or leave the option out",
        ));
    }
    Ok(())
}

/// The names of all settings.
fn names<S: Settings>() -> Vec<String> {
    let command = S::augment_args(Command::new(""));
    command.get_arguments().map(|arg| arg.get_id().as_str().replace('_', "-")).collect()
}

/// The one of `names` most similar to `name`; none if none is close.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), known);
    let all = names.map(|known| (known, likeness(known))).filter(|(_, like)| *like > 0.75);
    all.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(known, _)| known)
}

/// An absolute path.
///
/// # Errors
/// If it is empty, or not UTF-8.
pub fn absolute(setting: &'static str, path: &Path) -> Result<PathBuf, BenchError> {
    let path = std::path::absolute(path)
        .map_err(|cause| refuse(setting, cause, "a path", "name a file or a folder"))?;
    if path.to_str().is_none() {
        let expected = "a path in UTF-8, as settings.toml holds it";
        let cure = "rename what is not, or make a link to it that is";
        return Err(refuse(setting, path.display(), expected, cure));
    }
    Ok(path)
}

/// Paths that settings.toml can store, as a parser for flags.
pub(crate) fn text_path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::{StringValueParser, TypedValueParser};
    StringValueParser::new().map(PathBuf::from)
}

/// An invalid setting.
pub fn refuse(
    setting: impl Into<Cow<'static, str>>,
    found: impl ToString,
    expected: &str,
    cure: impl Into<Cow<'static, str>>,
) -> BenchError {
    BenchError::Setting {
        setting: setting.into(),
        found: found.to_string(),
        expected: expected.into(),
        cure: cure.into(),
    }
}
