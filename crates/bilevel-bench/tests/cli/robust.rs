//! `run robust`.

use super::*;

/// `mwn` or `mlc` on the digits, a few iterations.
fn robust(experiment: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = bilevel();
    command.args([
        "run",
        experiment,
        "--device",
        "flex",
        "--iterations",
        "6",
        "--repetitions",
        "1",
    ]);
    command.args(["--batch", "32", "--evaluations", "2", "--out"]).arg(out).args(more);
    command
}

#[test]
fn robust_training_reports_cost_accuracy_and_what_was_learned() {
    for (experiment, figure, learned) in
        [("mwn", "weights", "AUC"), ("mlc", "transition", "T error")]
    {
        let out = tempdir().unwrap();
        let ran = robust(experiment, out.path(), &["--json"]).assert().success();
        let summary: serde_json::Value = serde_json::from_slice(&ran.get_output().stdout).unwrap();
        let methods = summary["methods"].as_array().unwrap();
        let game = format!("nsgame-{experiment}");
        let names: Vec<_> = methods.iter().map(|method| method["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["plain", experiment, &game]);
        for method in methods {
            let number = |of: &serde_json::Value| of.as_f64().is_some_and(f64::is_finite);
            let figures = &method["figures"];
            assert!(
                method["ok"].as_bool().unwrap() && number(&method["test_accuracy"]),
                "{method}"
            );
            assert!(number(&figures["s/iteration"]), "{method}");
            assert!(number(&figures["extra MiB"]), "{method}");
            assert_eq!(number(&figures[learned]), method["name"] != "plain", "{method}");
        }
        let run = out.path().join(format!("{experiment}-0"));
        for method in [experiment, &game] {
            assert!(fs::metadata(run.join(format!("{figure}-{method}.svg"))).unwrap().len() > 1000);
        }
        // What a seed determines: everything except measurements of cost.
        let again = robust(experiment, out.path(), &["--json"]).assert().success();
        let again: serde_json::Value = serde_json::from_slice(&again.get_output().stdout).unwrap();
        for (one, other) in methods.iter().zip(again["methods"].as_array().unwrap()) {
            for figure in ["test_accuracy", "upper_loss", "lower_loss", "oracle_calls"] {
                assert_eq!(one[figure], other[figure], "{figure} of {experiment}");
            }
        }
    }
}

#[test]
fn robust_training_refuses_settings_and_data_with_a_cure() {
    let out = tempdir().unwrap();
    for (more, code, text) in [
        (&["--noise", "1.5"][..], 2, "a share of at least 0 and below 1"),
        (&["--noise-kind", "human"], 2, "--human-labels is missing"),
        (&["--imbalance", "0.5"], 3, "an imbalance factor of 0.5"),
        (&["--clean", "200"], 3, "ask for smaller parts"),
        (&["--clean", "0"], 2, "a count of at least 1"),
        (&["--data-dir", "."], 3, "lacks data_batch_1.bin"),
    ] {
        robust("mwn", out.path(), more).assert().code(code).stderr(contains(text));
    }
    assert!(fs::read_dir(out.path()).unwrap().next().is_none(), "no folder is left");
}
