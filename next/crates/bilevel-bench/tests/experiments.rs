//! Every experiment runs, on embedded data, on flex and on wgpu, and writes what it promises.
//!
//! wgpu is skipped, with a word, where there is no graphics adapter; with `BILEVEL_REQUIRE_GPU` set that is a
//! failure.

use std::fs;

use assert_cmd::Command;
use bilevel_bench::backend::BackendName;
use predicates::str::contains;
use tempfile::tempdir;

/// An experiment in seconds: its name, what makes it short, what its table names, the files of its own.
struct Smoke {
    name: &'static str,
    short: &'static [&'static str],
    says: &'static [&'static str],
    files: &'static [&'static str],
}

/// A new experiment is one line.
const EXPERIMENTS: &[Smoke] = &[
    Smoke {
        name: "hyper-cleaning",
        short: &["--upper-steps", "2", "--steps", "5", "--train", "100", "--validation", "100"],
        says: &["noisy", "rad", "cg", "oracle"],
        files: &[],
    },
    Smoke {
        name: "hpo",
        short: &["--calls", "300", "--steps", "10", "--rounds", "2"],
        says: &["rad", "fad", "grid", "random", "validation loss", "test loss"],
        files: &["validation-loss-by-calls.svg", "validation-loss-by-seconds.svg"],
    },
    Smoke {
        name: "mwn",
        short: &["--iterations", "2", "--rounds", "1", "--batch", "16", "--looks", "1"],
        says: &["plain", "mwn", "nsgame", "AUC"],
        files: &["weights-mwn.svg", "weights-nsgame-mwn.svg"],
    },
    Smoke {
        name: "mlc",
        short: &["--iterations", "2", "--rounds", "1", "--batch", "16", "--looks", "1"],
        says: &["plain", "mlc", "nsgame", "T error"],
        files: &["transition-mlc.svg", "transition-nsgame-mlc.svg"],
    },
    Smoke {
        name: "importance",
        short: &["--upper-steps", "3", "--steps", "2", "--train", "60", "--batch", "20"],
        says: &["oracle", "val-only", "train-val", "approx-grad", "penalty"],
        files: &[],
    },
    Smoke {
        name: "poisoning",
        short: &["--upper-steps", "3", "--steps", "2", "--train", "60", "--poisons", "3"],
        says: &["clean", "flipped", "rad", "approx-grad", "penalty"],
        files: &["poisons-rad.svg", "poisons-penalty.svg"],
    },
    Smoke {
        name: "poisoning",
        short: &[
            "--attack",
            "clean-label",
            "--upper-steps",
            "3",
            "--steps",
            "2",
            "--train",
            "60",
            "--targets",
            "1",
            "--epsilon",
            "20",
            "--model",
            "mlp",
            "--method",
            "collision,penalty-projected",
        ],
        says: &["collision", "penalty-projected", "% at 20"],
        files: &["success.svg", "poisons-collision.svg", "poisons-penalty-projected.svg"],
    },
];

fn run(backend: &str) {
    for Smoke { name, short, says, files } in EXPERIMENTS {
        let out = tempdir().unwrap();
        let mut command = Command::cargo_bin("bilevel").unwrap();
        command.args(["run", name, "--backend", backend, "--out"]).arg(out.path()).args(*short);
        let mut ran = command.assert().success();
        for word in *says {
            ran = ran.stdout(contains(*word));
        }
        let folder = out.path().join(format!("{name}-0"));
        let written = ["summary.json", "metrics.csv", "settings.toml", "curves.svg"];
        for file in written.iter().chain(*files) {
            assert!(
                fs::metadata(folder.join(file)).unwrap().len() > 50,
                "{name} on {backend}: {file}"
            );
        }
    }
}

#[test]
fn on_flex() {
    run("flex");
}

#[test]
fn on_wgpu() {
    match BackendName::Wgpu.resolve() {
        Ok(_) => run("wgpu"),
        Err(error) => {
            assert!(std::env::var_os("BILEVEL_REQUIRE_GPU").is_none(), "{error}");
            eprintln!("wgpu is skipped: {error}");
        }
    }
}

/// All methods of hyper-cleaning, on flex alone: a method that does not fit would say so at its first step.
#[test]
fn every_method_of_hyper_cleaning() {
    let out = tempdir().unwrap();
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.args([
        "run",
        "hyper-cleaning",
        "--method",
        "all",
        "--upper-steps",
        "2",
        "--steps",
        "5",
    ]);
    command.args(["--train", "50", "--validation", "50", "--backend", "flex", "--out"]);
    command.arg(out.path()).assert().success().stdout(contains("bvfim"));
}

#[test]
fn reproduce_refuses_what_it_cannot_do() {
    let out = tempdir().unwrap();
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.args(["reproduce", "bda-table-2", "--preset", "full", "--out"]).arg(out.path());
    command.assert().code(2).stderr(contains("--data-dir"));

    let folder = out.path().join("table");
    fs::create_dir(&folder).unwrap();
    let settings =
        "reproduce = \"iaptt-table-3\"\npreset = \"small\"\nseeds = 1\nbackend = \"none\"\n";
    fs::write(folder.join("settings.toml"), settings).unwrap();
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.arg("resume").arg(&folder).assert().code(6).stderr(contains("settings.toml"));
}
