//! Existing runs: a list, the differences of two, and the page of each.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use crate::error::BenchError;
use crate::experiments::{ORIGIN, seeds};
use crate::report::folder::RunFolder;
use crate::report::page::of_run;
use crate::report::table::fit;
use crate::report::{ReportError, RunReport};
use crate::reproduce;
use crate::settings::refuse;

/// The runs in a folder, one per line: experiment, start time, and whether it is complete.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(root: &Path, width: Option<usize>) -> Result<String, BenchError> {
    let refuse = |cause| ReportError::Read { path: root.into(), cause };
    let entries = fs::read_dir(root).map_err(refuse)?.filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.join("settings.toml").exists());
    paths.sort();
    let mut rows = Vec::new();
    for path in paths {
        let folder = RunFolder::open(&path)?;
        // A folder that cannot be read is listed too.
        let settings: Table = folder.settings().unwrap_or_default();
        rows.push(vec![
            path.display().to_string(),
            what(&settings),
            began(&settings),
            state(&folder, &settings),
        ]);
    }
    if rows.is_empty() {
        return Ok(format!("no runs in {}\n", root.display()));
    }
    let header = ["run", "what", "began", "state"].map(String::from);
    Ok(fit(&header, &rows, 4, width) + "\n")
}

fn what(settings: &Table) -> String {
    for key in ["experiment", reproduce::KEY, "compare"] {
        if let Some(name) = settings.get(key).and_then(Value::as_str) {
            let verb = if key == "experiment" { String::new() } else { format!("{key} ") };
            return verb + name;
        }
    }
    if seeds::is_seeds(settings) {
        let run = settings["run"].as_table().map_or(String::new(), what);
        return format!("{run}, {} seeds", settings["seeds"]);
    }
    if settings.contains_key(crate::toys::KEY) { "toys".into() } else { "-".into() }
}

fn began(settings: &Table) -> String {
    let began = settings.get(ORIGIN).and_then(|origin| origin.get("began"));
    began.and_then(Value::as_str).unwrap_or("-").into()
}

fn state(folder: &RunFolder, settings: &Table) -> String {
    let there = |file: &str| folder.path().join(file).exists();
    let complete = match settings.contains_key(reproduce::KEY) {
        // Its table is written after each run.
        true => reproduce::left(folder).is_ok_and(|left| left == 0),
        false => there("summary.json") || there("table.txt"),
    };
    match folder.was_held() {
        _ if complete => "complete".into(),
        // A process that was killed has left its lock, which the system has released.
        true if matches!(folder.try_hold(), Ok(None)) => "running".into(),
        _ => crate::error::resume(folder.path()),
    }
}

/// The settings and results of two runs, where they differ.
///
/// # Errors
/// If one is incomplete, or cannot be read.
pub fn difference(
    before: &RunFolder,
    after: &RunFolder,
    width: Option<usize>,
) -> Result<String, BenchError> {
    let [a, b] = [report(before)?, report(after)?];
    let name = |folder: &RunFolder| folder.path().display().to_string();
    let [flat_a, flat_b] = [&a, &b].map(|report| flat(&report.settings));
    let mut keys: Vec<&String> = flat_a.iter().chain(&flat_b).map(|(key, _)| key).collect();
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(*key));
    let of = |table: &[(String, String)], key: &str| {
        let found = table.iter().find(|(known, _)| known == key);
        found.map_or("-".to_owned(), |(_, value)| value.clone())
    };
    let rows = keys.into_iter().map(|key| vec![key.clone(), of(&flat_a, key), of(&flat_b, key)]);
    let settings: Vec<Vec<String>> = rows.filter(|row| row[1] != row[2]).collect();
    let mut rows = Vec::new();
    for method in &a.methods {
        let Some(other) = b.methods.iter().find(|other| other.name == method.name) else {
            continue;
        };
        let mut row = |figure: &str, a: Option<f64>, b: Option<f64>| {
            if let (Some(a), Some(b)) = (a, b) {
                let numbers = [format!("{a:.4}"), format!("{b:.4}"), format!("{:+.4}", b - a)];
                let [a, b, difference] = numbers;
                rows.push(vec![method.name.clone(), figure.into(), a, b, difference]);
            }
        };
        let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
        row("test accuracy %", percent(method.test_accuracy), percent(other.test_accuracy));
        row("F1 %", percent(method.f1()), percent(other.f1()));
        for (figure, value) in &method.figures {
            row(figure, Some(*value), other.figures.get(figure).copied());
        }
        row("upper loss", method.upper_loss, other.upper_loss);
        row("lower loss", method.lower_loss, other.lower_loss);
        row("seconds", Some(method.seconds), Some(other.seconds));
        let calls = |report: &crate::report::MethodReport| Some(report.total_calls() as f64);
        row("oracle calls", calls(method), calls(other));
    }
    let header = ["setting".to_owned(), name(before), name(after)];
    let settings = match settings.is_empty() {
        true => "All settings are equal.".to_owned(),
        false => fit(&header, &settings, 3, width),
    };
    let header = ["method", "figure", "before", "after", "difference"].map(String::from);
    Ok(format!("{settings}\n\n{}\n", fit(&header, &rows, 2, width)))
}

/// Settings by key, those of a nested table as `table.key`.
fn flat(settings: &Table) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (key, value) in settings {
        match value {
            Value::Table(inner) => {
                all.extend(
                    flat(inner).into_iter().map(|(of, value)| (format!("{key}.{of}"), value)),
                );
            }
            Value::String(word) => all.push((key.clone(), word.clone())),
            value => all.push((key.clone(), value.to_string())),
        }
    }
    all
}

/// The report of a complete run.
fn report(folder: &RunFolder) -> Result<RunReport, BenchError> {
    let settings: Table = folder.settings()?;
    if seeds::is_seeds(&settings) {
        let cure = "give the folder of one seed";
        return Err(refuse("RUN", folder.path().display(), "the folder of one run", cure));
    }
    refuse_others(&settings)?;
    folder.report_with_series()?.ok_or_else(|| {
        let (found, expected) = (folder.path().display(), "the folder of a run that is complete");
        refuse("RUN", found, expected, crate::error::resume(folder.path()))
    })
}

/// Writes the page of a folder again.
///
/// # Errors
/// If it is a run, a comparison or `toys` that is not complete, or cannot be read or written.
pub fn write_page(folder: &RunFolder) -> Result<(), BenchError> {
    let settings: Table = folder.settings()?;
    if seeds::is_seeds(&settings) {
        return Ok(seeds::read(folder)?.page(folder)?.write(folder)?);
    }
    if settings.contains_key(reproduce::KEY) {
        return reproduce::report(folder);
    }
    if settings.contains_key(crate::compare::KEY) {
        return crate::compare::report(folder);
    }
    if settings.contains_key(crate::toys::KEY) {
        return crate::toys::report(folder);
    }
    Ok(of_run(&report(folder)?, folder)?.write(folder)?)
}

/// Refuses the settings of a table, a comparison or toys.
fn refuse_others(settings: &Table) -> Result<(), BenchError> {
    let others = [reproduce::KEY, crate::compare::KEY, crate::toys::KEY];
    match others.into_iter().find(|key| settings.contains_key(*key)) {
        None => Ok(()),
        Some(key) => {
            let cure = "compare the files that the folders have";
            Err(refuse("RUN", key, "the folder of a run", cure))
        }
    }
}
