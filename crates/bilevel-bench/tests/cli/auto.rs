//! `--method auto` and `--step-size auto`.

use std::fs;
use std::path::Path;

use predicates::prelude::*;
use predicates::str::contains;
use tempfile::tempdir;

use crate::{bilevel, quick};

/// The settings of a run, without the date.
fn settings(run: &Path) -> toml::Table {
    let mut table: toml::Table =
        fs::read_to_string(run.join("settings.toml")).unwrap().parse().unwrap();
    table.remove("made-by").unwrap();
    table
}

/// The oracle calls of the probes, which no method's contain.
fn probes(run: &Path) -> i64 {
    let table: toml::Table =
        fs::read_to_string(run.join("settings.toml")).unwrap().parse().unwrap();
    table["made-by"]["probes"].as_integer().unwrap()
}

#[test]
fn auto_is_replaced_by_what_was_chosen() {
    let out = tempdir().unwrap();
    let auto = ["--method", "noisy,auto", "--step-size", "auto", "--train", "100"];
    let settings = |run: &str| settings(&out.path().join(run));
    let said = contains("measured").and(contains("chosen")).and(contains("because"));
    quick(out.path(), &auto).assert().success().stderr(said).stdout(contains("of probes"));
    let first = settings("hyper-cleaning-0");
    let methods = first["method"].as_array().unwrap();
    let chosen = methods[1].as_str().unwrap();
    assert!(methods.len() == 2 && chosen != "auto", "{methods:?}");
    assert!(first["step-size"].as_float().unwrap() > 0.0);
    // The same again, and by the name of what was chosen.
    quick(out.path(), &auto).assert().success();
    assert_eq!(settings("hyper-cleaning-0-2"), first);
    quick(out.path(), &["--train", "100", "--method", chosen]).assert().success();
    bilevel().arg("resume").arg(out.path().join("hyper-cleaning-0")).assert().success();

    let mut compare = bilevel();
    compare.args(["compare", "quadratic", "--method", "auto", "--seeds", "2", "--calls", "128"]);
    compare.arg("--out").arg(out.path()).assert().success().stdout(contains("saba"));
    assert!(probes(&out.path().join("compare-quadratic")) > 0);
    quick(out.path(), &["--method", "auto", "--train", "100", "--seeds", "2"]).assert().success();
    assert!(probes(&out.path().join("hyper-cleaning-0-seeds-2")) > 0);
    let without = ["run", "sinusoid", "--preset", "smoke", "--step-size", "auto", "--out"];
    let mut without_auto = bilevel();
    without_auto.args(without).arg(out.path());
    without_auto.assert().code(2).stderr(contains("expected a number: sinusoid has no auto"));
}

/// A new experiment with `auto` is one line.
#[test]
fn every_experiment_that_has_auto_runs_what_it_chooses() {
    for experiment in [
        &["actor-critic"][..],
        &["actor-critic", "--task", "cart-pole"],
        &["clean"],
        &["denoising"],
        &["distillation"],
        &["distillation", "--initialisation", "random"],
        &["few-shot"],
        &["gan"],
        &["hpo"],
        &["hyper-cleaning"],
        &["nas"],
    ] {
        let out = tempdir().unwrap();
        let mut command = bilevel();
        command.arg("run").args(experiment).args(["--preset", "smoke", "--device", "flex"]);
        command.args(["--method", "auto", "--out"]).arg(out.path());
        let forecast = predicates::str::is_match(
            "\nrun       about [0-9]+ oracle calls and [0-9.]+ (us|ms|s); ",
        )
        .unwrap();
        let said = contains("chosen").and(contains("because")).and(forecast);
        command.assert().success().stderr(said).stdout(contains("of probes"));
        let run = fs::read_dir(out.path()).unwrap().next().unwrap().unwrap().path();
        let methods = settings(&run)["method"].as_array().unwrap().clone();
        assert!(methods.len() == 1 && methods[0].as_str() != Some("auto"), "{methods:?}");
        assert!(run.join("summary.json").is_file() && probes(&run) > 0, "{experiment:?}");
    }
}
