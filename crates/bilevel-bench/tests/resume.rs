//! A run that is killed at any moment goes on to the same numbers, bit for bit.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::tempdir;

fn bilevel() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("bilevel"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Methods with a state of each kind: Adam's moments, a start that is learned, a penalty that grows.
fn run(out: &Path) -> Command {
    let mut command = bilevel();
    command.args(["run", "hyper-cleaning", "--backend", "flex", "--save-every", "0"]);
    command.args(["--method", "noisy,rad,iaptt,penalty,oracle", "--upper-steps", "40"]);
    command.args(["--steps", "20", "--train", "100", "--validation", "100", "--out"]).arg(out);
    command
}

/// All that a run found, but for time and memory.
fn findings(folder: &Path) -> (Vec<String>, serde_json::Value) {
    let series = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let without_seconds = |row: &str| {
        let cells: Vec<&str> = row.split(',').collect();
        [&cells[..2], &cells[3..]].concat().join(",")
    };
    let mut summary: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    for method in summary["methods"].as_array_mut().unwrap() {
        let method = method.as_object_mut().unwrap();
        method.remove("seconds").unwrap();
        method.remove("peak_memory").unwrap();
    }
    (series.lines().map(without_seconds).collect(), summary)
}

#[test]
fn a_run_killed_at_twenty_random_moments_ends_with_the_same_bits() {
    const KILLS: usize = 20;
    let (whole, cut) = (tempdir().unwrap(), tempdir().unwrap());
    let begin = std::time::Instant::now();
    assert!(run(whole.path()).status().unwrap().success());
    let all = begin.elapsed();
    let expected = findings(&whole.path().join("hyper-cleaning-0"));

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (mut kills, mut attempts) = (0, 0);
    while kills < KILLS {
        let out = cut.path().join(attempts.to_string());
        let folder = out.join("hyper-cleaning-0");
        attempts += 1;
        loop {
            // Before there is a folder there is nothing to resume.
            let mut process = match folder.join("settings.toml").exists() {
                false => run(&out).spawn().unwrap(),
                true => {
                    let mut resume = bilevel();
                    resume.arg("resume").arg(&folder).args(["--save-every", "0"]).spawn().unwrap()
                }
            };
            sleep(all.mul_f64(rng.random_range(0.02..0.6)));
            if process.try_wait().unwrap().is_none() && kills < KILLS {
                process.kill().unwrap();
                kills += 1;
            }
            let status = process.wait().unwrap();
            if status.success() {
                break;
            }
            assert!(status.code().is_none(), "{status}");
            // A folder that was made and no more: the next run takes another name.
            if folder.exists() && !folder.join("settings.toml").exists() {
                fs::remove_dir_all(&folder).unwrap();
            }
        }
        assert_eq!(findings(&folder), expected);
        let left: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.') || name.contains("checkpoint"))
            .collect();
        assert!(left.is_empty(), "{left:?} is left");
    }
}

#[test]
fn a_complete_run_is_read_and_not_made_again() {
    let out = tempdir().unwrap();
    assert!(run(out.path()).status().unwrap().success());
    let folder = out.path().join("hyper-cleaning-0");
    let before = fs::metadata(folder.join("summary.json")).unwrap().modified().unwrap();
    assert!(bilevel().arg("resume").arg(&folder).status().unwrap().success());
    assert_eq!(fs::metadata(folder.join("summary.json")).unwrap().modified().unwrap(), before);
}

#[test]
fn what_is_no_run_ends_with_code_6_and_a_cure() {
    let out = tempdir().unwrap();
    let resume = |folder: &Path| {
        let ran = bilevel().stderr(Stdio::piped()).arg("resume").arg(folder).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let (code, text) = resume(&out.path().join("none"));
    assert!(code == Some(6) && text.contains("folder of a run"), "{code:?} {text}");
    let (code, text) = resume(out.path());
    assert!(code == Some(6) && text.contains("settings.toml"), "{code:?} {text}");
    for (damaged, file) in [("experiment = \"none\"", "settings.toml"), ("x", "checkpoint.bin")] {
        let folder = out.path().join(file);
        fs::create_dir(&folder).unwrap();
        let whole = "experiment = \"hyper-cleaning\"\nmethod = [\"rad\"]\nmodel = \"softmax\"\n\
                     noise = 0.5\ntrain = 100\nvalidation = 100\nsteps = 2\nstep-size = 1.0\n\
                     upper-steps = 2\nlearning-rate = 0.1\ntruncated = 25\naggregation = 0.5\n\
                     iterations = 50\ntolerance = 0.001\ndamping = 0.01\nseed = 0\nbackend = \"flex\"\n";
        fs::write(folder.join("settings.toml"), whole).unwrap();
        fs::write(folder.join(file), damaged).unwrap();
        let (code, text) = resume(&folder);
        assert!(code == Some(6) && text.contains(file) && text.contains("anew"), "{code:?} {text}");
    }
}
