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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Methods;

    #[test]
    fn settings_in_parentheses_stand_in_the_places_of_those_of_a_run() {
        let defaults = include_str!("../../../assets/presets/few-shot.toml");
        let mut table: Table = defaults.parse().unwrap();
        table.retain(|_, value| !value.is_table());
        let of_run: Settings = table.try_into().unwrap();
        let text = "rad,rad(lower-steps = 5),cg(lower-steps = 3, test-steps = 7, damping = 0.5)";
        let methods: Methods<Configured> = text.parse().unwrap();
        assert_eq!(methods.to_string(), text);
        let found = methods.iter().map(|method| {
            let settings = method.of(&of_run).unwrap();
            let (steps, test) = (settings.lower.lower_steps.get(), settings.test_steps.get());
            (steps, test, settings.damping.get())
        });
        // T of its own is that of a test task too.
        assert_eq!(found.collect::<Vec<_>>(), [(10, 10, 0.01), (5, 5, 0.01), (3, 7, 0.5)]);
        for (text, says) in [
            ("rad(gamma = 1.0)", "`rad` does not read `gamma`"),
            ("magic(lower-steps = 5)", "no method is called `magic`"),
        ] {
            let error = text.parse::<Methods<Configured>>().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let methods: Methods<Configured> = "rad(lower-steps = 0)".parse().unwrap();
        let error = methods[0].of(&of_run).unwrap_err().to_string();
        assert!(error.contains("rad(lower-steps = 0)"), "{error}");
    }
}
