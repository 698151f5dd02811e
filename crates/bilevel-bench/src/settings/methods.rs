//! The methods of a run, as named on the command line and in files.

use std::fmt;
use std::str::FromStr;

use bilevel_core::catalogue::{self, At, Entry, Made, Settings};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::AUTO;
use super::{nearest, refuse};
use crate::error::BenchError;

/// A method that an experiment offers by name.
pub trait Offered: Clone + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// All of them, in the order in which they are listed.
    fn all() -> Vec<Self>;

    /// Its name.
    fn name(&self) -> String;

    /// Whether `name` is its name or an alias, ignoring case.
    fn is_called(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// What it does, in a line.
    fn summary(&self) -> String;

    /// The options that it reads but not every method of the experiment does.
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    /// The same with its own settings, such as `damping = 0.1`.
    ///
    /// # Errors
    /// What is wrong with them.
    fn with(self, settings: toml::Table) -> Result<Self, String> {
        match settings.keys().next() {
            None => Ok(self),
            Some(key) => Err(format!("`{}` takes no settings, found `{key}`", self.name())),
        }
    }
}

/// [`Offered`] for a clap enum: names, aliases and summaries are those of its values.
macro_rules! offered {
    ($method:ty, { $($variant:pat => $reads:expr),* $(,)? }) => {
        impl $crate::settings::Offered for $method {
            fn all() -> Vec<Self> {
                <Self as clap::ValueEnum>::value_variants().to_vec()
            }

            fn name(&self) -> String {
                let value = clap::ValueEnum::to_possible_value(self);
                value.map(|value| value.get_name().to_owned()).unwrap_or_default()
            }

            fn is_called(&self, name: &str) -> bool {
                let value = clap::ValueEnum::to_possible_value(self);
                value.is_some_and(|value| value.matches(name, true))
            }

            fn summary(&self) -> String {
                let value = clap::ValueEnum::to_possible_value(self);
                let help = value.and_then(|value| value.get_help().map(ToString::to_string));
                help.unwrap_or_default()
            }

            fn reads(&self) -> &'static [&'static str] {
                #[allow(unreachable_patterns, reason = "some enums have no methods of this kind")]
                match self {
                    $($variant => $reads,)*
                    _ => &[],
                }
            }
        }
    };
}
pub(crate) use offered;

/// The methods of a run, in order, without duplicates; and perhaps, after them, one that is to be chosen, `auto`.
#[derive(Clone, Debug, PartialEq)]
pub struct Methods<M> {
    named: Vec<M>,
    auto: bool,
}

impl<M> std::ops::Deref for Methods<M> {
    type Target = [M];

    fn deref(&self) -> &[M] {
        &self.named
    }
}

impl<M: Offered> Methods<M> {
    /// Whether one is to be chosen.
    pub fn is_open(&self) -> bool {
        self.auto
    }

    /// These, with `chosen` in place of the one that is to be chosen.
    ///
    /// # Errors
    /// If `chosen` is not a method with its settings.
    pub fn with_chosen(mut self, chosen: &str) -> Result<Self, String> {
        let chosen = method::<M>(chosen)?;
        if self.named.iter().all(|known| known.name() != chosen.name()) {
            self.named.push(chosen);
        }
        Ok(Self { auto: false, ..self })
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.named.iter().map(M::name).chain(self.auto.then(|| AUTO.to_owned()))
    }

    /// Reads names, where `all` means all on offer.
    fn named<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut methods: Vec<M> = Vec::new();
        let mut auto = false;
        for name in names {
            if name.eq_ignore_ascii_case(AUTO) {
                if std::mem::replace(&mut auto, true) {
                    return Err(format!("`{AUTO}` is named twice, expected once"));
                }
                continue;
            }
            let more =
                if name.eq_ignore_ascii_case("all") { M::all() } else { vec![method(name)?] };
            for method in more {
                if methods.iter().any(|known| known.name() == method.name()) {
                    return Err(format!("`{}` is named twice, expected once", method.name()));
                }
                methods.push(method);
            }
        }
        if methods.is_empty() && !auto {
            return Err("no method is named, expected at least one".into());
        }
        Ok(Self { named: methods, auto })
    }
}

/// Reads `name` or `name(setting = value, ...)`.
fn method<M: Offered>(text: &str) -> Result<M, String> {
    let (name, settings) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => match rest.trim_end().strip_suffix(')') {
            Some(settings) => (name, Some(settings)),
            None => return Err(format!("`{text}` has no closing parenthesis")),
        },
    };
    let name = name.trim();
    let offered = M::all();
    let Some(method) = offered.iter().find(|method| method.is_called(name)) else {
        let names: Vec<_> = offered.iter().map(M::name).collect();
        let close = nearest(name, names.iter().map(String::as_str));
        let hint = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
        return Err(format!(
            "no method is called `{name}`, expected some of {}{hint}",
            names.join(", ")
        ));
    };
    let Some(settings) = settings else { return Ok(method.clone()) };
    let table = toml::from_str::<toml::Table>(&format!("settings = {{ {settings} }}"));
    match table.ok().and_then(|mut table| table.remove("settings")) {
        Some(toml::Value::Table(table)) => method.clone().with(table),
        _ => {
            Err(format!("`{settings}` is no list of settings, expected some like `damping = 0.1`"))
        }
    }
}

/// Splits at the commas that are outside of parentheses and brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

impl<M: Offered> FromStr for Methods<M> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::named(split(text).into_iter())
    }
}

impl<M: Offered> fmt::Display for Methods<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(","))
    }
}

impl<M: Offered> Serialize for Methods<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de, M: Offered> Deserialize<'de> for Methods<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Names {
            One(String),
            Many(Vec<String>),
        }
        let methods = match Names::deserialize(deserializer)? {
            Names::One(text) => text.parse(),
            Names::Many(names) => Self::named(names.iter().map(String::as_str)),
        };
        methods.map_err(serde::de::Error::custom)
    }
}

/// A method of the catalogue, perhaps with its own settings.
#[derive(Clone, Debug)]
pub struct Catalogued {
    /// The entry.
    pub entry: &'static Entry,
    own: toml::Table,
}

impl PartialEq for Catalogued {
    fn eq(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name && self.own == other.own
    }
}

impl Catalogued {
    /// The method called `name`; none if it is not in the catalogue.
    pub fn find(name: &str) -> Option<Self> {
        catalogue::find(name).map(Self::new)
    }

    /// An entry with default settings.
    pub fn new(entry: &'static Entry) -> Self {
        Self { entry, own: toml::Table::new() }
    }

    /// Its name, and its own settings in parentheses.
    pub fn name(&self) -> String {
        let name = self.entry.name;
        let own: Vec<_> = self.own.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        if own.is_empty() { name.to_owned() } else { format!("{name}({})", own.join(", ")) }
    }

    /// The same with its own settings.
    ///
    /// # Errors
    /// If it does not read one of them, or a value does not fit.
    pub fn with(self, settings: toml::Table) -> Result<Self, String> {
        let reads = self.entry.reads;
        if let Some(key) = settings.keys().find(|key| !reads.contains(&key.as_str())) {
            let name = self.entry.name;
            return Err(format!(
                "`{name}` does not read `{key}`, expected some of {}",
                reads.join(", ")
            ));
        }
        let with = Self { own: settings, ..self };
        with.settings(&Settings::default()).map(|_| with)
    }

    /// The method with the settings of a run, overridden by its own; and these settings.
    ///
    /// # Errors
    /// If a setting has the wrong type or is outside its range.
    pub fn make(&self, of_run: &Settings, at: &At<'_>) -> Result<(Made, Settings), BenchError> {
        let settings = self.of(of_run)?;
        Ok((self.entry.make(&settings, at)?, settings))
    }

    /// The settings of a run, overridden by its own.
    ///
    /// # Errors
    /// If a value has another type.
    pub fn of(&self, of_run: &Settings) -> Result<Settings, BenchError> {
        self.settings(of_run).map_err(|error| {
            refuse("--method", self.name(), &error, "correct the settings in parentheses")
        })
    }

    fn settings(&self, of_run: &Settings) -> Result<Settings, String> {
        let mut table = toml::Table::try_from(of_run).map_err(|error| error.to_string())?;
        table.extend(self.own.clone());
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Offered for Catalogued {
        fn all() -> Vec<Self> {
            catalogue::all().map(Self::new).collect()
        }

        fn name(&self) -> String {
            self.name()
        }

        fn is_called(&self, name: &str) -> bool {
            self.entry.is_called(name)
        }

        fn summary(&self) -> String {
            self.entry.summary.into()
        }

        fn with(self, settings: toml::Table) -> Result<Self, String> {
            self.with(settings)
        }
    }

    fn read(text: &str) -> Result<Methods<Catalogued>, String> {
        text.parse()
    }

    #[test]
    fn names_are_read_in_any_case_with_blanks_and_settings() {
        let methods = read("RAD, ls(damping = 0.1, solver-iterations = 3),T-RHG").unwrap();
        assert_eq!(methods.to_string(), "rad,cg(damping = 0.1, solver-iterations = 3),trad");
        assert_eq!(read(&methods.to_string()).unwrap(), methods);
        let settings = methods[1].settings(&Settings::default()).unwrap();
        assert_eq!((settings.damping, settings.solver_iterations), (0.1, 3));
        assert_eq!(read("all").unwrap().len(), catalogue::all().count());
        let open = read("Auto,rad").unwrap();
        assert!(open.is_open() && open.to_string() == "rad,auto");
        let chosen = open.with_chosen("cg(damping = 0.1)").unwrap();
        assert!(!chosen.is_open() && chosen.to_string() == "rad,cg(damping = 0.1)");
    }

    #[test]
    fn wrong_names_and_settings_are_named() {
        for (text, says) in [
            ("raad", "did you mean `rad`?"),
            ("cg,cg", "`cg` is named twice"),
            ("cg,ls", "`cg` is named twice"),
            ("auto,auto", "`auto` is named twice"),
            ("", "no method is called ``"),
            ("cg(damping)", "expected some like"),
            ("cg(damping = 0.1", "no closing parenthesis"),
            ("rad(damping = 0.1)", "`rad` does not read `damping`"),
            ("cg(damping = true)", "expected f64"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
