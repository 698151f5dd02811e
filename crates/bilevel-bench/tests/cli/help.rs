//! What help says of defaults.

use super::*;

/// The defaults that `--help` prints, by flag.
fn defaults(command: &[&str]) -> Vec<(String, String)> {
    let help = bilevel().args(command).arg("--help").assert().success();
    let help = String::from_utf8(help.get_output().stdout.clone()).unwrap();
    let options = help.split("\n      --").skip(1).filter_map(|option| {
        let (flag, rest) = option.split_once(|c: char| c.is_whitespace())?;
        let (_, default) = rest.rsplit_once("[default: ")?;
        Some((flag.to_owned(), default.split_once(']')?.0.to_owned()))
    });
    options.collect()
}

/// The settings that `--dry-run` prints, as on the command line.
fn settings(command: &[&str]) -> Vec<(String, String)> {
    let run = bilevel().args(command).arg("--dry-run").assert().success();
    let table: toml::Table = String::from_utf8_lossy(&run.get_output().stdout).parse().unwrap();
    let word = |value: &toml::Value| match value {
        toml::Value::String(word) => word.clone(),
        other => other.to_string(),
    };
    let text = |value: toml::Value| match value {
        toml::Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(","),
        other => word(&other),
    };
    table.into_iter().map(|(key, value)| (key, text(value))).collect()
}

#[test]
fn the_defaults_of_help_are_those_of_a_run() {
    let names = bilevel_bench::experiments::EXPERIMENTS.iter().map(|known| known.name);
    let runs = names.map(|name| (vec!["run", name], vec![]));
    let data = "table.csv";
    let tables = ["clean", "tune"].map(|name| (vec![name], vec![data]));
    for (command, data) in runs.chain(tables) {
        let used = settings(&[&command[..], &data].concat());
        let mut compared = 0;
        for (flag, default) in defaults(&command) {
            // `auto` is one of the devices here, and the others are no settings.
            let Some((_, value)) = used.iter().find(|(key, _)| *key == flag && key != "device")
            else {
                continue;
            };
            // A default in words says on what it depends.
            if !default.starts_with('"') && default.contains(char::is_whitespace) {
                continue;
            }
            assert_eq!(default.trim_matches('"'), value, "{command:?} --{flag}");
            compared += 1;
        }
        assert!(compared > 4, "{command:?}: {compared}");
    }
}

#[test]
fn a_table_that_is_given_has_no_default() {
    for command in ["clean", "tune"] {
        let help = bilevel().args([command, "--help"]).assert().success();
        help.stdout(contains("embedded digits").not().and(contains("--batch").not()));
    }
}
