//! A method with settings of its own.

use toml::Table;

use super::{Method, Settings};
use crate::error::BenchError;
use crate::settings::{Offered, refuse};

/// What all methods read.
const OF_ALL: [&str; 3] = ["lower-steps", "step-size", "test-steps"];

/// A method, perhaps with settings of its own, as `rad(lower-steps = 5)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured {
    /// Which.
    pub method: Method,
    own: Table,
}

impl Configured {
    /// The settings of a run with its own in their places. T steps of its own are those on a test task too.
    ///
    /// # Errors
    /// If a value does not fit.
    pub fn of(&self, of_run: &Settings) -> Result<Settings, BenchError> {
        self.settings(of_run).map_err(|error| {
            refuse("--method", self.name(), &error, "correct the settings in parentheses")
        })
    }

    fn settings(&self, of_run: &Settings) -> Result<Settings, String> {
        let mut table = Table::try_from(of_run).map_err(|error| error.to_string())?;
        if let Some(steps) = self.own.get("lower-steps") {
            table.insert("test-steps".into(), steps.clone());
        }
        table.extend(self.own.clone());
        table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }
}

impl Offered for Configured {
    fn all() -> Vec<Self> {
        Method::all().into_iter().map(|method| Self { method, own: Table::new() }).collect()
    }

    fn name(&self) -> String {
        let own: Vec<_> = self.own.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let name = self.method.name();
        if own.is_empty() { name } else { format!("{name}({})", own.join(", ")) }
    }

    fn is_called(&self, name: &str) -> bool {
        self.method.is_called(name)
    }

    fn summary(&self) -> String {
        self.method.summary()
    }

    fn reads(&self) -> &'static [&'static str] {
        self.method.reads()
    }

    fn with(self, own: Table) -> Result<Self, String> {
        let known: Vec<_> = OF_ALL.iter().chain(self.reads()).copied().collect();
        if let Some(key) = own.keys().find(|key| !known.contains(&key.as_str())) {
            let (name, known) = (self.method.name(), known.join(", "));
            return Err(format!("`{name}` does not read `{key}`, expected some of {known}"));
        }
        Ok(Self { own, ..self })
    }
}
