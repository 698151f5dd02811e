//! A run that is killed at any moment resumes to the same numbers, bit for bit.

mod mutated;
mod origin;
mod refused;
mod signals;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::tempdir;

fn bilevel() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("bilevel"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// An experiment in a second or two, and how often it is killed.
struct Short {
    name: &'static str,
    kills: usize,
    args: &'static [&'static str],
}

/// Methods with a state of each kind: Adam's moments, a learned start, a growing penalty.
const HYPER_CLEANING: Short = Short {
    name: "hyper-cleaning",
    kills: 20,
    args: &[
        "--method",
        "noisy,rad,iaptt,penalty,clean-labels",
        "--upper-steps",
        "40",
        "--lower-steps",
        "20",
        "--train",
        "100",
        "--validation",
        "100",
    ],
};

/// A new experiment is one line.
const EXPERIMENTS: &[Short] = &[
    HYPER_CLEANING,
    Short { name: "mwn", kills: 3, args: ROBUST },
    Short { name: "mlc", kills: 3, args: ROBUST },
    Short {
        name: "hpo",
        kills: 3,
        args: &["--calls", "400", "--lower-steps", "10", "--evaluations", "4"],
    },
    Short {
        name: "hpo",
        kills: 3,
        args: &[
            "--problem",
            "ridge",
            "--method",
            "cg,soba,saba,random",
            "--calls",
            "2000",
            "--lower-steps",
            "20",
            "--evaluations",
            "20",
        ],
    },
    Short {
        name: "few-shot",
        kills: 3,
        args: &[
            "--method",
            "iaptt,penalty,cg,meta-sgd",
            "--upper-steps",
            "6",
            "--width",
            "4",
            "--way",
            "3",
            "--query",
            "2",
            "--meta-batch",
            "2",
            "--lower-steps",
            "3",
            "--test-tasks",
            "4",
            "--look-tasks",
            "2",
        ],
    },
    Short {
        name: "sinusoid",
        kills: 3,
        args: &["--upper-steps", "20", "--width", "4", "--meta-batch", "2", "--test-tasks", "2"],
    },
    Short {
        name: "importance",
        kills: 3,
        args: &["--upper-steps", "8", "--lower-steps", "3", "--train", "60", "--batch", "20"],
    },
    Short {
        name: "poisoning",
        kills: 3,
        args: &[
            "--attack",
            "clean-label",
            "--targets",
            "4",
            "--upper-steps",
            "5",
            "--lower-steps",
            "3",
            "--epsilon",
            "0.5,2",
            "--network",
            "mlp",
            "--method",
            "collision,penalty",
        ],
    },
    Short {
        name: "poisoning",
        kills: 3,
        args: &["--upper-steps", "20", "--lower-steps", "5", "--train", "60", "--poisons", "5"],
    },
    Short { name: "denoising", kills: 3, args: LONGER_SMOKE },
    Short { name: "distillation", kills: 3, args: LONGER_SMOKE },
    Short { name: "gan", kills: 3, args: LONGER_SMOKE },
    Short { name: "actor-critic", kills: 3, args: LONGER_SMOKE },
    Short { name: "dictionary", kills: 3, args: LONGER_SMOKE },
    Short {
        name: "nas",
        kills: 3,
        args: &[
            "--preset",
            "smoke",
            "--upper-steps",
            "6",
            "--random",
            "2",
            "--method",
            "random,skip,one-stage,nsgame",
        ],
    },
];
const LONGER_SMOKE: &[&str] = &["--preset", "smoke", "--upper-steps", "12"];
const ROBUST: &[&str] = &[
    "--iterations",
    "4",
    "--repetitions",
    "1",
    "--batch",
    "8",
    "--clean",
    "100",
    "--test",
    "20",
    "--evaluations",
    "2",
];

impl Short {
    fn run(&self, out: &Path) -> Command {
        self.run_saving(out, "0")
    }

    /// The same with this many seconds between two checkpoints.
    fn run_saving(&self, out: &Path, seconds: &str) -> Command {
        let mut command = bilevel();
        command.args(["run", self.name, "--device", "flex", "--save-every", seconds]);
        command.args(self.args).arg("--out").arg(out);
        command
    }

    /// The folder that a run under `out` creates.
    fn folder(&self, out: &Path) -> PathBuf {
        out.join(format!("{}-0", self.name))
    }
}

fn resume(folder: &Path) -> Command {
    let mut command = bilevel();
    command.arg("resume").arg(folder).args(["--save-every", "0"]);
    command
}

/// The results of a run, except time and memory.
fn findings(folder: &Path) -> (Vec<String>, serde_json::Value) {
    // The name of a method may have commas.
    let mut series = csv::Reader::from_path(folder.join("metrics.csv")).unwrap();
    let seconds = series.headers().unwrap().iter().position(|name| name == "seconds").unwrap();
    let without_seconds = |row: csv::StringRecord| {
        let cells = row.iter().enumerate().filter(|(at, _)| *at != seconds);
        cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(",")
    };
    let series: Vec<String> = series.records().map(|row| without_seconds(row.unwrap())).collect();
    let mut summary: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    for method in summary["methods"].as_array_mut().unwrap() {
        let method = method.as_object_mut().unwrap();
        method.remove("seconds").unwrap();
        method.remove("peak_memory").unwrap();
        let figures = method["figures"].as_object_mut().unwrap();
        figures.retain(|name, _| !["s/iteration", "extra MiB"].contains(&name.as_str()));
    }
    let made_by = summary["settings"]["made-by"].as_object_mut().unwrap();
    for name in ["began", "command"] {
        made_by.remove(name).unwrap();
    }
    (series, summary)
}

#[test]
fn runs_killed_at_random_moments_end_with_the_same_bits() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for short in EXPERIMENTS {
        let (whole, cut) = (tempdir().unwrap(), tempdir().unwrap());
        let begin = Instant::now();
        assert!(short.run(whole.path()).status().unwrap().success());
        let all = begin.elapsed();
        let expected = findings(&short.folder(whole.path()));
        let (mut kills, mut attempts) = (0, 0);
        while kills < short.kills {
            let out = cut.path().join(attempts.to_string());
            let folder = short.folder(&out);
            attempts += 1;
            loop {
                // Before the folder exists there is nothing to resume.
                let mut command = match folder.join("settings.toml").exists() {
                    false => short.run(&out),
                    true => resume(&folder),
                };
                let mut process = command.spawn().unwrap();
                sleep(all.mul_f64(rng.random_range(0.02..0.6)));
                if process.try_wait().unwrap().is_none() && kills < short.kills {
                    process.kill().unwrap();
                    kills += 1;
                }
                let status = process.wait().unwrap();
                if status.success() {
                    break;
                }
                assert!(status.code().is_none(), "{}: {status}", short.name);
                // A folder that was only created: the next run takes another name.
                if folder.exists() && !folder.join("settings.toml").exists() {
                    fs::remove_dir_all(&folder).unwrap();
                }
            }
            let (found, name) = (findings(&folder), short.name);
            assert_eq!(
                found.0, expected.0,
                "{name} came to other numbers after {attempts} attempts"
            );
            assert_eq!(found.1, expected.1, "{name} came to another summary");
            let left: Vec<String> = fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| {
                    [".", "checkpoint", "lock"].iter().any(|part| name.starts_with(part))
                })
                .collect();
            assert!(left.is_empty(), "{}: {left:?} is left", short.name);
        }
        println!("{}: {:.1} s", short.name, begin.elapsed().as_secs_f64());
    }
}

/// A run that has written two checkpoints, and its folder.
fn begun(out: &Path) -> (Child, PathBuf) {
    let mut process = HYPER_CLEANING.run(out).spawn().unwrap();
    let folder = HYPER_CLEANING.folder(out);
    while !folder.join("checkpoint-before.bin").exists() {
        assert!(process.try_wait().unwrap().is_none(), "it ended without a second checkpoint");
        sleep(Duration::from_millis(5));
    }
    (process, folder)
}

#[test]
fn a_run_that_a_process_is_at_is_not_taken_by_another() {
    let out = tempdir().unwrap();
    let (mut process, folder) = begun(out.path());
    let ran = resume(&folder).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(ran.stderr).unwrap();
    assert!(process.try_wait().unwrap().is_none(), "it ended too early for this test");
    assert_eq!(ran.status.code(), Some(6), "{text}");
    for word in [folder.to_str().unwrap(), "another process", "wait until it ends"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    // The lock ends with the process, however that ends.
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(resume(&folder).status().unwrap().success());
    assert!(!folder.join("lock").exists());
}

#[test]
fn where_the_newest_checkpoint_is_damaged_the_one_before_serves() {
    let (whole, out) = (tempdir().unwrap(), tempdir().unwrap());
    assert!(HYPER_CLEANING.run(whole.path()).status().unwrap().success());
    let (mut process, folder) = begun(out.path());
    process.kill().unwrap();
    process.wait().unwrap();
    // Killed between two renames, only the previous one exists.
    let newest = match folder.join("checkpoint.bin") {
        newest if newest.exists() => newest,
        _ => folder.join("checkpoint-before.bin"),
    };
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(folder.join("checkpoint.bin"), bytes).unwrap();
    let ran = resume(&folder).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.success() && text.contains("checkpoint.bin: the checksum"), "{text}");
    let expected = findings(&HYPER_CLEANING.folder(whole.path()));
    assert!(findings(&folder) == expected, "it came to other numbers");
}

/// Forty images of two classes in the format of MNIST.
fn write_images(dir: &Path) {
    let idx = |dims: &[u32], body: Vec<u8>| {
        let mut file = vec![0, 0, 8, dims.len() as u8];
        file.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
        file.extend(body);
        file
    };
    for (part, n) in [("train", 40_u32), ("t10k", 20)] {
        let labels: Vec<u8> = (0..n).map(|i| (i % 2) as u8).collect();
        let pixels = labels.iter().flat_map(|&label| [250 * label, 10, 20, 200 - label]).collect();
        let file = |name| dir.join(format!("{part}-{name}-ubyte"));
        fs::write(file("images-idx3"), idx(&[n, 2, 2], pixels)).unwrap();
        fs::write(file("labels-idx1"), idx(&[n], labels)).unwrap();
    }
}

#[test]
fn a_run_is_resumed_from_another_directory_and_on_the_same_backend() {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    fs::create_dir(here.path().join("data")).unwrap();
    write_images(&here.path().join("data"));
    let mut run = bilevel();
    run.args(["run", "hyper-cleaning", "--data-dir", "data", "--method", "rad,cg"]);
    run.args(["--train", "10", "--validation", "10", "--upper-steps", "3", "--lower-steps", "5"]);
    assert!(run.current_dir(here.path()).status().unwrap().success());
    let folder = here.path().join("runs/hyper-cleaning-0");
    let expected = findings(&folder);

    let settings: toml::Table =
        toml::from_str(&fs::read_to_string(folder.join("settings.toml")).unwrap()).unwrap();
    let data_dir = Path::new(settings["data-dir"].as_str().unwrap());
    assert!(data_dir.is_absolute() && data_dir.is_dir(), "{}", data_dir.display());
    assert_ne!(settings["device"].as_str().unwrap(), "auto");

    fs::remove_file(folder.join("summary.json")).unwrap();
    assert!(resume(&folder).current_dir(there.path()).status().unwrap().success());
    assert_eq!(findings(&folder), expected);

    let mut empty = bilevel();
    empty.args(["run", "mwn", "--data-dir", ""]).current_dir(there.path());
    assert_eq!(empty.status().unwrap().code(), Some(2));
}

#[test]
fn a_complete_run_is_read_and_not_made_again() {
    let out = tempdir().unwrap();
    assert!(HYPER_CLEANING.run(out.path()).status().unwrap().success());
    let folder = HYPER_CLEANING.folder(out.path());
    let before = fs::metadata(folder.join("summary.json")).unwrap().modified().unwrap();
    assert!(bilevel().arg("resume").arg(&folder).status().unwrap().success());
    assert_eq!(fs::metadata(folder.join("summary.json")).unwrap().modified().unwrap(), before);
}
