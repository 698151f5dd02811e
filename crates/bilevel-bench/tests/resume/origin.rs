//! Runs that are resumed with other data than that with which they began, or by another binary. Data is refused, unless a
//! flag accepts it; then the results say so.

use super::*;

const FLAG: &str = "--accept-changes";
const SAYS: &str = "the data changed in the middle of the run";

/// Resumes: the exit code, and all that is printed.
fn resumed(folder: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = resume(folder);
    let ran = command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    (ran.status.code(), [ran.stdout, ran.stderr].map(|t| String::from_utf8(t).unwrap()).concat())
}

fn refused(folder: &Path) {
    let (code, text) = resumed(folder, &[]);
    assert!(code == Some(6) && text.contains("began with data") && text.contains(FLAG), "{text}");
}

/// Resumes a run whose results say that its data changed, if it did.
fn told(folder: &Path, flags: &[&str], changed: bool) {
    let (code, text) = resumed(folder, flags);
    assert!(code == Some(0) && text.contains(SAYS) == changed, "{}: {text}", folder.display());
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(file("report.html").contains(SAYS), changed, "{}", folder.display());
    assert_eq!(file("settings.toml").contains("data-before"), changed, "{}", folder.display());
    let summary = file("summary.json");
    assert_eq!(summary.contains(SAYS) || summary.contains("data-before"), changed, "{summary}");
}

/// Changes one value.
fn change(data: &Path) {
    let images = data.join("train-images-idx3-ubyte");
    let mut bytes = fs::read(&images).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&images, bytes).unwrap();
    let rows = fs::read_to_string(data.join("ijcnn1")).unwrap();
    fs::write(data.join("ijcnn1"), format!("-1 1:0.5\n{rows}")).unwrap();
}

fn data(under: &Path) -> PathBuf {
    let data = under.join("data");
    fs::create_dir(&data).unwrap();
    write_images(&data);
    let row = |n: i32| format!("{} {}:0.5 {}:1\n", 1 - n % 2 * 2, 1 + n % 11, 12 + n % 10);
    fs::write(data.join("ijcnn1"), (0..40).map(row).collect::<String>()).unwrap();
    data
}

const ON_IMAGES: [&str; 10] = [
    "run",
    "hyper-cleaning",
    "--method",
    "rad",
    "--train",
    "10",
    "--validation",
    "10",
    "--device",
    "flex",
];

#[test]
fn a_killed_run_goes_on_with_other_data_only_by_a_flag_and_says_so() {
    let out = tempdir().unwrap();
    let data = data(out.path());
    let mut run = bilevel();
    run.args(ON_IMAGES).args(["--upper-steps", "400", "--save-every", "0", "--data-dir"]);
    let mut process = run.arg(&data).arg("--out").arg(out.path()).spawn().unwrap();
    let folder = out.path().join("hyper-cleaning-0");
    let killed_where = |process: &mut Child, there: &dyn Fn() -> bool| {
        while !there() {
            assert!(process.try_wait().unwrap().is_none(), "it ended too early for this test");
            sleep(Duration::from_millis(5));
        }
        process.kill().unwrap();
        process.wait().unwrap();
    };
    killed_where(&mut process, &|| folder.join("checkpoint.bin").exists());
    change(&data);
    refused(&folder);
    let settings = || fs::read_to_string(folder.join("settings.toml")).unwrap();
    let mut process = resume(&folder).arg(FLAG).spawn().unwrap();
    killed_where(&mut process, &|| settings().contains("data-before"));
    // The data that was accepted is that of the run from now on.
    let accepted = settings();
    change(&data);
    refused(&folder);
    assert_eq!(settings(), accepted);
    told(&folder, &[FLAG], true);
    told(&folder, &[], true);
}

/// A folder with results of several parts.
struct Parts {
    args: Vec<&'static str>,
    folder: &'static str,
    /// Whether it reads data.
    reads: bool,
    /// What is removed so that it is not complete.
    last: &'static [&'static str],
}

#[test]
fn seeds_and_comparisons_go_on_with_other_data_only_by_a_flag_and_say_so() {
    let few = ["--upper-steps", "2", "--lower-steps", "2", "--seeds", "2"];
    let parts = [
        Parts {
            args: [&ON_IMAGES[..], &few].concat(),
            folder: "hyper-cleaning-0-seeds-2",
            reads: true,
            last: &["seed-1/settings.toml", "seed-1/summary.json", "summary.json"],
        },
        Parts {
            args: "compare ijcnn1 --method cg --seeds 1 --calls 64".split(' ').collect(),
            folder: "compare-ijcnn1",
            reads: true,
            last: &["table.txt"],
        },
        Parts {
            args: "toys --problem bda-counterexample".split(' ').collect(),
            folder: "toys",
            reads: false,
            last: &["table.txt"],
        },
    ];
    for Parts { args, folder, reads, last } in parts {
        let out = tempdir().unwrap();
        let data = data(out.path());
        let mut run = bilevel();
        run.args(&args).arg("--out").arg(out.path());
        if reads {
            run.arg("--data-dir").arg(&data);
        }
        assert!(run.status().unwrap().success(), "{args:?}");
        let folder = out.path().join(folder);
        let undo = || last.iter().for_each(|file| fs::remove_file(folder.join(file)).unwrap());
        undo();
        told(&folder, &[FLAG], false);
        undo();
        change(&data);
        if reads {
            refused(&folder);
            told(&folder, &[FLAG], true);
            undo();
        }
        told(&folder, &[], reads);
    }
}

#[test]
fn toys_that_another_version_began_were_refused_in_spite_of_the_flag() {
    let out = tempdir().unwrap();
    let mut run = bilevel();
    run.args(["toys", "--problem", "bda-counterexample", "--out"]).arg(out.path());
    assert!(run.status().unwrap().success());
    let folder = out.path().join("toys");
    made_by_others(&folder, &["version"]);
    // As if it was interrupted before its first part.
    for file in ["table.txt", "claims.csv", "runs.csv", "metrics.csv"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    let (code, text) = resumed(&folder, &[]);
    assert!(code == Some(6) && text.contains("began with version another version"), "{text}");
    told(&folder, &[FLAG], false);
}

/// Another version, commit or processor in a folder's settings.
fn made_by_others(folder: &Path, what: &[&str]) {
    let path = folder.join("settings.toml");
    let mut settings: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    for what in what {
        settings["made-by"][*what] = format!("another {what}").into();
    }
    fs::write(&path, settings.to_string()).unwrap();
}

#[test]
fn another_version_is_refused_and_another_commit_or_processor_is_a_warning() {
    let out = tempdir().unwrap();
    let data = data(out.path());
    let mut run = bilevel();
    run.args(ON_IMAGES).args(["--upper-steps", "2", "--lower-steps", "2", "--data-dir"]);
    assert!(run.arg(&data).arg("--out").arg(out.path()).status().unwrap().success());
    let folder = out.path().join("hyper-cleaning-0");
    made_by_others(&folder, &["version", "commit", "processor"]);
    fs::remove_file(folder.join("summary.json")).unwrap();
    let (code, text) = resumed(&folder, &[]);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("began with version another version, here is"), "{text}");
    let (code, text) = resumed(&folder, &[FLAG]);
    assert_eq!(code, Some(0), "{text}");
    for what in ["version", "commit", "processor"] {
        let says = format!("the run began with {what} \"another {what}\", here is");
        assert!(text.contains(&says), "{text}");
    }
}
