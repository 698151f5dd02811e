//! Defaults and presets in the files of `assets/presets`, and how they are layered.
//!
//! ```toml
//! lower-steps = 100            # a default
//!
//! [where.data-dir]             # where the setting data-dir has another value than its default:
//! train = 7000
//!
//! [where.attack.clean-label]   # where the setting attack is "clean-label":
//! train = 20
//!
//! [preset.paper]               # where the setting preset is "paper":
//! lower-steps = 200
//!
//! [preset.paper.where.noise-kind.flip]   # where, besides, noise-kind is "flip":
//! epochs = 60
//! ```
//!
//! Later layers override earlier ones, and what the user gives overrides all of them: defaults, then sections, then
//! `--config`, then flags.

use toml::{Table, Value};

use super::nearest;

/// The file of an experiment.
#[derive(Debug, Clone)]
pub struct Defaults {
    file: Table,
}

impl Defaults {
    /// Reads the text of a file.
    ///
    /// # Panics
    /// If it is not TOML: files are part of the program, and a test reads them all.
    pub fn read(text: &str) -> Self {
        Self { file: text.parse().expect("the files of defaults are TOML") }
    }

    /// The default settings.
    fn plain(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.file.iter().filter(|(_, value)| !value.is_table()).map(|(key, value)| (&**key, value))
    }

    /// The names of the presets.
    pub fn presets(&self) -> Vec<String> {
        let presets = self.file.get("preset").and_then(Value::as_table);
        presets.map(|presets| presets.keys().cloned().collect()).unwrap_or_default()
    }

    /// All settings, given the user's settings `given`.
    pub fn complete(&self, given: &Table) -> Table {
        let mut settings: Table =
            self.plain().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        settings.extend(given.clone());
        lay(&self.file, given, &mut settings, &self.file);
        settings
    }

    /// Every section, with the conditions under which it holds: for tests.
    #[cfg(test)]
    pub(crate) fn sections(&self) -> Vec<Table> {
        fn collect(section: &Table, given: &Table, to: &mut Vec<Table>) {
            to.push(given.clone());
            for (setting, inner) in conditions(section) {
                for (value, inner) in inner.iter().filter_map(|(k, v)| Some((k, v.as_table()?))) {
                    let mut given = given.clone();
                    given.insert(setting.to_owned(), Value::String(value.clone()));
                    collect(inner, &given, to);
                }
            }
        }
        let mut sections = Vec::new();
        collect(&self.file, &Table::new(), &mut sections);
        sections
    }
}

/// The settings on which parts of a section depend, and these parts, in the order of the file.
fn conditions(section: &Table) -> impl Iterator<Item = (&str, &Table)> {
    let tables = section.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_table()?)));
    tables.flat_map(|(key, table)| match key {
        "where" => {
            let inner = table.iter().filter_map(|(key, value)| Some((&**key, value.as_table()?)));
            inner.collect::<Vec<_>>()
        }
        _ => vec![(key, table)],
    })
}

/// Applies the sections of `section` whose conditions hold, except for settings that are given.
fn lay(section: &Table, given: &Table, settings: &mut Table, defaults: &Table) {
    let put = |settings: &mut Table, key: &String, value: &Value| {
        if !given.contains_key(key) {
            settings.insert(key.clone(), value.clone());
        }
    };
    for (setting, parts) in conditions(section) {
        let now = settings.get(setting).cloned();
        let is_other = now.is_some() && now.as_ref() != defaults.get(setting);
        for (key, value) in parts {
            match value.as_table() {
                None if is_other => put(settings, key, value),
                Some(inner) if now.as_ref().and_then(Value::as_str) == Some(key) => {
                    for (key, value) in inner.iter().filter(|(_, value)| !value.is_table()) {
                        put(settings, key, value);
                    }
                    lay(inner, given, settings, defaults);
                }
                _ => {}
            }
        }
    }
}

/// The first key that is not among `known`, with what was probably meant.
pub fn unknown<'a>(table: &'a Table, known: &[String]) -> Option<(&'a str, String)> {
    let key = table.keys().find(|key| !known.contains(key))?;
    let close = nearest(key, known.iter().map(String::as_str));
    Some((key, close.map_or_else(|| known.join(", "), |close| format!("`{close}`"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_hold_under_their_conditions_and_what_is_given_wins() {
        let file = Defaults::read(
            "steps = 1\nsize = 10\nkind = \"a\"\n[where.dir]\nsize = 20\nkind = \"b\"\n[where.kind.b]\nsteps = 2\n\
             [preset.paper]\nsteps = 3\n[preset.paper.where.kind.b]\nsize = 4\n",
        );
        let complete = |given: &str| file.complete(&given.parse().unwrap());
        let numbers = |given: &str| {
            let table = complete(given);
            ["steps", "size"].map(|key| table[key].as_integer().unwrap())
        };
        assert_eq!(numbers(""), [1, 10]);
        assert_eq!(numbers("dir = \"d\""), [2, 20]);
        assert_eq!(numbers("dir = \"d\"\nkind = \"a\""), [1, 20]);
        assert_eq!(numbers("preset = \"paper\""), [3, 10]);
        assert_eq!(numbers("preset = \"paper\"\ndir = \"d\""), [3, 4]);
        assert_eq!(numbers("preset = \"paper\"\ndir = \"d\"\nsize = 7"), [3, 7]);
        assert_eq!(file.presets(), ["paper"]);
        assert_eq!(file.sections().len(), 4);
    }
}
