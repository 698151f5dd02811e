//! Former faults, one test each: the name says what the binary did, the test what it does.

mod memory;
mod parts;
mod settings;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use bilevel_bench::BenchError;
use bilevel_bench::backend::{BackendName, adapters};
use bilevel_bench::experiments::{Complete, EXPERIMENTS};
use predicates::prelude::*;
use predicates::str::contains;
use tempfile::{TempDir, tempdir};

/// The binary, which must end by itself.
fn bilevel(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("bilevel").unwrap();
    command.args(args).timeout(Duration::from_secs(300));
    command
}

/// Hyper-cleaning of a folder in a second, on flex.
fn quick(data: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = bilevel(&["run", "hyper-cleaning", "--upper-steps", "2"]);
    command.args(["--lower-steps", "3", "--train", "10", "--validation", "10"]);
    command.args(["--method", "rad", "--device", "flex", "--data-dir"]).arg(data);
    command.arg("--out").arg(out).args(more);
    command
}

fn idx(kind: u8, dims: &[u32], body: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, dims.len() as u8];
    file.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    file.extend(body);
    file
}

/// A folder in MNIST's format: `train` images of `side` x `side` and half as many for the test, the labels one after the
/// other.
fn folder(train: u32, side: u32, labels: &[i32]) -> TempDir {
    let dir = tempdir().unwrap();
    for (part, n) in [("train", train), ("t10k", train / 2)] {
        let label = |at: u32| labels[at as usize % labels.len()];
        let pixels = (0..n * side * side).map(|at| ((at / side / side * 97 + at * 31) % 251) as u8);
        let images = idx(8, &[n, side, side], &pixels.collect::<Vec<_>>());
        let labels: Vec<u8> = (0..n).flat_map(|at| label(at).to_be_bytes()).collect();
        let path = |name: &str| dir.path().join(format!("{part}-{name}-ubyte"));
        fs::write(path("images-idx3"), images).unwrap();
        fs::write(path("labels-idx1"), idx(0x0c, &[n], &labels)).unwrap();
    }
    dir
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

// Panics, and the exit codes of the process.

#[test]
fn images_that_poolings_make_nothing_of_panicked_after_the_folder_was_made() {
    let (data, out) = (folder(60, 3, &[0, 1, 2]), tempdir().unwrap());
    let few = ["--train", "10", "--validation", "10", "--device", "flex", "--data-dir"];
    for args in [
        &["run", "importance", "--network", "small"][..],
        &["run", "importance", "--network", "cnn"],
        &["run", "poisoning", "--attack", "clean-label", "--classes", "0,1", "--network", "cnn"],
    ] {
        let mut command = bilevel(args);
        command.args(few).arg(data.path()).arg("--out").arg(out.path());
        let says = contains("images of 3x3, expected images of at least 4x4");
        command.assert().code(2).stderr(says.and(contains("--network softmax")));
        assert!(is_empty(out.path()));
    }
    let mut fits = bilevel(&["run", "importance", "--network", "cnn", "--preset", "smoke"]);
    fits.args(["--train", "20", "--validation", "10", "--batch", "10", "--device", "flex"]);
    let data = folder(60, 4, &[0, 1]);
    fits.arg("--data-dir").arg(data.path()).arg("--out").arg(out.path()).assert().success();
}

#[cfg(target_os = "linux")]
#[test]
fn an_error_that_could_not_be_written_panicked() {
    use std::process::{Command, Stdio};
    let code = |args: &[&str]| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("bilevel"));
        command.args(args).stderr(full).stdout(Stdio::null()).status().unwrap().code()
    };
    let (data, out) = (folder(60, 2, &[5, 7]), tempdir().unwrap());
    let (data, out) = (data.path().to_str().unwrap(), out.path().to_str().unwrap());
    assert_eq!(code(&["run", "hyper-cleaning", "--data-dir", "none", "--out", out]), Some(3));
    assert_eq!(code(&["resume", "none"]), Some(6));
    assert_eq!(code(&["hypergrad", "--steps", "3"]), Some(2));
    assert_eq!(code(&["no-command"]), Some(2));
    // A warning.
    let quick = ["--preset", "smoke", "--train", "10", "--validation", "10", "--device", "flex"];
    let run = ["run", "hyper-cleaning", "--data-dir", data, "--out", out];
    assert_eq!(code(&[&run[..], &quick[..]].concat()), Some(0));
}

#[test]
fn a_configuration_of_burn_that_does_not_parse_panicked() {
    let (data, out) = (folder(60, 2, &[0, 1]), tempdir().unwrap());
    for name in ["burn.toml", "cubecl.toml"] {
        fs::write(out.path().join(name), "fusion = \"x\n").unwrap();
        let mut command = quick(data.path(), out.path(), &[]);
        command.current_dir(out.path()).assert().success();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_whose_name_is_not_utf_8_was_refused_after_another_was_made() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let (data, out) = (folder(60, 2, &[0, 1]), tempdir().unwrap());
    let odd = out.path().join(OsStr::from_bytes(b"odd-\xff"));
    fs::rename(data.path(), &odd).unwrap();
    let runs = tempdir().unwrap();
    let refused = |mut command: Command| {
        command.assert().code(2).stderr(contains("UTF-8"));
        assert!(is_empty(runs.path()));
    };
    refused(quick(&odd, runs.path(), &[]));
    // Named by a path that exists, in a folder that does not.
    let mut command = quick(Path::new("."), runs.path(), &[]);
    command.current_dir(&odd);
    refused(command);
    let mut command = bilevel(&["reproduce", "bda-table-2", "--preset", "full", "--data-dir"]);
    command.arg(&odd).arg("--out").arg(runs.path());
    refused(command);
    let mut command = bilevel(&["compare", "ijcnn1", "--data-dir"]);
    command.arg(&odd).arg("--out").arg(runs.path());
    refused(command);
    // Results may be anywhere.
    fs::create_dir(data.path()).unwrap();
    quick(&folder_at(data.path()), &odd, &[]).assert().success();
}

/// A valid folder at this path.
fn folder_at(path: &Path) -> PathBuf {
    let sound = folder(60, 2, &[0, 1]);
    for entry in fs::read_dir(sound.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    path.into()
}

#[test]
fn a_checkpoint_of_another_solver_ended_as_a_divergence() {
    let (entry, found) = ("y/0".into(), "missing".into());
    let of_solver = bilevel_core::Error::Snapshot { entry, found, expected: "numbers".into() };
    assert_eq!(BenchError::from(of_solver).exit_code(), 6);
}

#[test]
fn a_hypergradient_after_a_climb_ended_with_code_0() {
    let climbs = ["hypergrad", "--workload", "small", "--lower-steps", "1", "--step-size", "1"];
    for json in [&[][..], &["--json"]] {
        let mut command = bilevel(&climbs);
        command.args(["--device", "flex", "--repetitions", "1"]).args(json);
        command
            .assert()
            .code(5)
            .stdout(contains("status"))
            .stderr(contains("cannot be used").and(contains("reduce the lower step size")));
    }
}

// Data that were refused, or another setting blamed.

#[test]
fn labels_that_begin_at_1_were_told_to_ask_for_smaller_parts() {
    let (data, out) = (folder(80, 2, &[1, 2, 3, 4]), tempdir().unwrap());
    quick(data.path(), out.path(), &[])
        .assert()
        .success()
        .stderr(contains("labels are 1 to 4; they are taken for classes 0 to 3"));
    // Classes are named by their labels.
    let attack = |classes: &str| {
        let mut command = bilevel(&["run", "poisoning", "--attack", "clean-label"]);
        command.args(["--preset", "smoke", "--train", "10", "--validation", "10"]);
        command.args(["--classes", classes, "--device", "flex", "--data-dir"]).arg(data.path());
        command.arg("--out").arg(out.path()).assert()
    };
    attack("3,4").success();
    attack("0,4").code(2).stderr(contains("--classes is 0, expected labels of the data, 1 to 4"));
}

#[test]
fn one_class_without_noise_was_told_to_take_no_noise() {
    let (data, out) = (folder(60, 2, &[3]), tempdir().unwrap());
    quick(data.path(), out.path(), &["--noise", "0"]).assert().success();
    quick(data.path(), out.path(), &["--noise", "0.5"])
        .assert()
        .code(2)
        .stderr(contains("at least 2 to make labels wrong"));
}

#[test]
fn hpo_and_compare_looked_for_files_under_other_names() {
    let (data, out) = (tempdir().unwrap(), tempdir().unwrap());
    let commands = || {
        let hpo: &[&str] = &["run", "hpo", "--problem", "ijcnn1", "--preset", "smoke"];
        let compare: &[&str] = &["compare", "ijcnn1", "--seeds", "1", "--calls", "64"];
        [(hpo, "soba"), (compare, "soba")].map(|(args, method)| {
            let mut command = bilevel(args);
            command.args(["--method", method, "--data-dir"]).arg(data.path());
            command.arg("--out").arg(out.path());
            command
        })
    };
    for mut command in commands() {
        let says = contains("neither ijcnn1 nor ijcnn1.gz, nor does libsvm/ in it");
        command.assert().code(3).stderr(says);
    }
    fs::create_dir(data.path().join("libsvm")).unwrap();
    fs::write(data.path().join("libsvm/ijcnn1.bz2"), "BZh9").unwrap();
    for mut command in commands() {
        command.assert().code(3).stderr(contains("ijcnn1.bz2").and(contains("bunzip2")));
        assert!(is_empty(out.path()));
    }
    let row = |at: usize| {
        format!("{} {}:1 22:{}\n", if at.is_multiple_of(3) { 1 } else { -1 }, at % 20 + 1, at % 7)
    };
    let text: String = (0..60).map(row).collect();
    // With a byte-order mark.
    fs::write(data.path().join("libsvm/ijcnn1"), format!("\u{feff}{text}")).unwrap();
    for mut command in commands() {
        command.assert().success();
    }
}

#[test]
fn too_many_poisons_were_blamed_on_train() {
    let out = tempdir().unwrap();
    let mut command = bilevel(&["run", "poisoning", "--poisons", "100000", "--device", "flex"]);
    command
        .arg("--out")
        .arg(out.path())
        .assert()
        .code(2)
        .stderr(contains("--poisons is 100000").and(contains("ask for fewer")));
    assert!(is_empty(out.path()));
}

/// The column `calls` of the last row of a method.
fn last_calls(folder: &Path, method: &str) -> u64 {
    let series = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let column = series.lines().next().unwrap().split(',').position(|name| name == "calls");
    let last = series.lines().rfind(|row| row.starts_with(&format!("{method},"))).unwrap();
    last.split(',').nth(column.unwrap()).unwrap().parse().unwrap()
}

#[test]
fn learning_rates_that_fall_out_of_order_passed() {
    let out = tempdir().unwrap();
    for falls in [["3", "1"], ["1", "900"]] {
        let mut command = bilevel(&["run", "mwn", "--preset", "smoke", "--device", "flex"]);
        command.arg("--falls").args(falls).arg("--out").arg(out.path());
        command
            .assert()
            .code(2)
            .stderr(contains("--falls").and(contains("two passes in their order")));
        assert!(is_empty(out.path()));
    }
}

#[test]
fn the_last_row_of_a_series_had_no_calls() {
    let out = tempdir().unwrap();
    for (experiment, method) in [("hyper-cleaning", "rad"), ("poisoning", "penalty")] {
        let mut command = bilevel(&["run", experiment, "--preset", "smoke", "--method", method]);
        command.args(["--device", "flex", "--json", "--out"]).arg(out.path());
        let ran = command.assert().success();
        let summary: serde_json::Value = serde_json::from_slice(&ran.get_output().stdout).unwrap();
        let calls = summary["methods"][0]["oracle_calls"].as_object().unwrap();
        let all: u64 = calls.values().map(|calls| calls.as_u64().unwrap()).sum();
        assert_eq!(last_calls(&out.path().join(format!("{experiment}-0")), method), all);
    }
}

// Files that are not data, and leftover folders.

#[cfg(unix)]
#[test]
fn a_pipe_given_as_data_was_waited_for() {
    let dir = tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("skipped: no mkfifo");
        return;
    }
    let says = "is a pipe, expected a file";
    bilevel(&["hypergrad", "--data"]).arg(&pipe).assert().code(3).stderr(contains(says));
    let data = folder(60, 2, &[0, 1]);
    fs::rename(&pipe, data.path().join("train-labels-idx1-ubyte")).unwrap();
    quick(data.path(), dir.path(), &[]).assert().code(3).stderr(contains(says));
    // An endless file of settings.
    let mut command = bilevel(&["run", "hyper-cleaning", "--dry-run", "--config", "/dev/zero"]);
    command.assert().code(2).stderr(contains("more than 1048576 bytes"));
}

#[test]
fn a_folder_called_like_an_unfinished_file_blocked_resuming() {
    let (data, out) = (folder(60, 2, &[0, 1]), tempdir().unwrap());
    quick(data.path(), out.path(), &[]).assert().success();
    let run = out.path().join("hyper-cleaning-0");
    fs::remove_file(run.join("summary.json")).unwrap();
    fs::create_dir(run.join(".unfinished-x")).unwrap();
    fs::write(run.join(".unfinished-y"), "half").unwrap();
    bilevel(&["resume"]).arg(&run).assert().success();
    assert!(run.join(".unfinished-x").is_dir() && !run.join(".unfinished-y").exists());
}

#[test]
fn commands_that_are_printed_were_not_those_of_a_shell() {
    let (data, out) = (folder(60, 2, &[0, 1]), tempdir().unwrap());
    let out = out.path().join("it's $HOME; x");
    quick(data.path(), &out, &[]).assert().success();
    let run = out.join("hyper-cleaning-0");
    let settings = fs::read_to_string(run.join("settings.toml")).unwrap();
    let settings: toml::Table = settings.parse().unwrap();
    let command = shlex::split(settings["made-by"]["command"].as_str().unwrap()).unwrap();
    assert_eq!(command.last().unwrap(), out.to_str().unwrap());
    fs::remove_file(run.join("summary.json")).unwrap();
    let ran = bilevel(&["report"]).arg(&run).assert().code(2);
    let says = String::from_utf8_lossy(&ran.get_output().stderr).into_owned();
    let (_, resume) = says.trim_end().split_once("resume with: ").unwrap();
    assert_eq!(shlex::split(resume).unwrap(), ["bilevel", "resume", run.to_str().unwrap()]);
}

/// A lock that cannot be opened for writing, as on a read-only disk.
#[test]
fn a_complete_run_with_a_lock_that_cannot_be_taken_was_not_read() {
    let (data, out) = (folder(60, 2, &[0, 1]), tempdir().unwrap());
    quick(data.path(), out.path(), &[]).assert().success();
    let run = out.path().join("hyper-cleaning-0");
    fs::create_dir(run.join("lock")).unwrap();
    bilevel(&["resume"]).arg(&run).assert().success().stdout(contains("rad"));
}
