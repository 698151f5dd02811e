//! Runs that are resumed with other data than that with which they began, or by another version. Each is refused, unless a
//! flag accepts it; then the results say so, if any came from what was before.

use super::*;

const FLAG: &str = "--accept-changes";
const DATA: &str = "the data changed in the middle of the run";
const VERSION: &str = "the version of bilevel changed in the middle of the run";

/// Resumes: the exit code, and all that is printed.
fn resumed(folder: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = resume(folder);
    let ran = command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    (ran.status.code(), [ran.stdout, ran.stderr].map(|t| String::from_utf8(t).unwrap()).concat())
}

fn refused(folder: &Path, what: &str) {
    let before = settings(folder);
    let (code, text) = resumed(folder, &[]);
    let says = format!("began with {what}");
    assert!(code == Some(6) && text.contains(&says) && text.contains(FLAG), "{text}");
    assert_eq!(settings(folder), before);
}

fn settings(folder: &Path) -> String {
    fs::read_to_string(folder.join("settings.toml")).unwrap()
}

/// Resumes a run whose table, page and summary say that these changed, and no other.
fn told(folder: &Path, flags: &[&str], changed: &[&str]) {
    let (code, text) = resumed(folder, flags);
    let place = folder.display();
    assert_eq!(code, Some(0), "{place}: {text}");
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (page, summary) = (file("report.html"), file("summary.json"));
    for (says, key) in [(DATA, "data-before"), (VERSION, "version-before")] {
        let changed = changed.contains(&says);
        assert_eq!(text.contains(says), changed, "{place}: {text}");
        assert_eq!(page.contains(says), changed, "{place}");
        assert_eq!(settings(folder).contains(key), changed, "{place}");
        assert_eq!(summary.contains(says) || summary.contains(key), changed, "{summary}");
    }
}

/// Changes one value; of the images, back at the second time.
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

/// What another version of the binary leaves, whose run this one had begun.
fn another_version_went_on(folder: &Path) {
    edit(folder, |settings| {
        let origin = settings["made-by"].as_table_mut().unwrap();
        let began = origin.insert("version".into(), "another version".into()).unwrap();
        origin.insert("version-before".into(), vec![began].into());
    });
}

fn edit(folder: &Path, edit: impl FnOnce(&mut toml::Table)) {
    let mut table: toml::Table = settings(folder).parse().unwrap();
    edit(&mut table);
    fs::write(folder.join("settings.toml"), table.to_string()).unwrap();
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

/// Kills a process as soon as this is the case.
fn killed_where(process: &mut Child, there: &dyn Fn() -> bool) {
    while !there() {
        assert!(process.try_wait().unwrap().is_none(), "it ended too early for this test");
        sleep(Duration::from_millis(5));
    }
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A run that was killed, after a checkpoint or before the first one; its folder and its data.
fn killed(out: &Path, after_checkpoint: bool) -> (PathBuf, PathBuf) {
    let data = data(out);
    let mut run = bilevel();
    run.args(ON_IMAGES).args(["--upper-steps", "400", "--save-every"]);
    run.arg(if after_checkpoint { "0" } else { "1000" });
    let mut process = run.arg("--data-dir").arg(&data).arg("--out").arg(out).spawn().unwrap();
    let folder = out.join("hyper-cleaning-0");
    let file = if after_checkpoint { "checkpoint.bin" } else { "settings.toml" };
    killed_where(&mut process, &|| folder.join(file).exists());
    assert_eq!(folder.join("checkpoint.bin").exists(), after_checkpoint);
    (folder, data)
}

#[test]
fn a_killed_run_goes_on_with_other_data_only_by_a_flag_and_says_so() {
    let out = tempdir().unwrap();
    let (folder, data) = killed(out.path(), true);
    change(&data);
    refused(&folder, "data");
    let mut process = resume(&folder).arg(FLAG).spawn().unwrap();
    killed_where(&mut process, &|| settings(&folder).contains("data-before"));
    // The data that was accepted is that of the run from now on.
    change(&data);
    refused(&folder, "data");
    told(&folder, &[FLAG], &[DATA]);
    told(&folder, &[], &[DATA]);
}

#[test]
fn a_version_that_was_accepted_left_no_trace_and_was_refused_again() {
    let out = tempdir().unwrap();
    let (folder, _) = killed(out.path(), true);
    another_version_went_on(&folder);
    refused(&folder, "version another version");
    let mut process = resume(&folder).arg(FLAG).spawn().unwrap();
    killed_where(&mut process, &|| !settings(&folder).contains("version = \"another version\""));
    told(&folder, &[], &[VERSION]);
}

#[test]
fn data_that_was_accepted_and_not_used_is_not_that_of_the_run() {
    let out = tempdir().unwrap();
    let (folder, data) = killed(out.path(), true);
    let (began, checkpoint) = (settings(&folder), fs::read(folder.join("checkpoint.bin")).unwrap());
    change(&data);
    // The checkpoint is of other settings.
    let edited = began.replace("lower-steps = 100", "lower-steps = 101");
    assert_ne!(edited, began);
    fs::write(folder.join("settings.toml"), &edited).unwrap();
    let (code, text) = resumed(&folder, &[FLAG]);
    assert!(code == Some(6) && text.contains("began with settings"), "{text}");
    assert_eq!(settings(&folder), edited);
    fs::write(folder.join("settings.toml"), &began).unwrap();
    // Killed without a checkpoint of its own.
    let mut process =
        bilevel().arg("resume").arg(&folder).args([FLAG, "--save-every", "1000"]).spawn().unwrap();
    sleep(Duration::from_millis(300));
    killed_where(&mut process, &|| folder.join("lock").exists());
    assert_eq!(settings(&folder), began);
    assert_eq!(fs::read(folder.join("checkpoint.bin")).unwrap(), checkpoint);
    // All numbers are from the data that is there again.
    change(&data);
    told(&folder, &[], &[]);
}

#[test]
fn a_run_without_a_checkpoint_is_all_from_the_data_that_was_accepted() {
    let out = tempdir().unwrap();
    let (folder, data) = killed(out.path(), false);
    change(&data);
    refused(&folder, "data");
    told(&folder, &[FLAG], &[]);
    assert!(!out.path().join("hyper-cleaning-0/checkpoint.bin").exists());
    // It ended with the data that is there.
    fs::remove_file(folder.join("summary.json")).unwrap();
    told(&folder, &[], &[]);
}

/// A folder with results of several parts.
struct Parts {
    args: Vec<&'static str>,
    folder: &'static str,
    /// Whether it reads data.
    reads: bool,
    /// Removes its last part.
    undo: fn(&Path),
}

fn parts() -> [Parts; 3] {
    let few = ["--upper-steps", "2", "--lower-steps", "2", "--seeds", "2"];
    let without_last_row = |folder: &Path| {
        fs::remove_file(folder.join("table.txt")).unwrap();
        let rows = fs::read_to_string(folder.join("runs.csv")).unwrap();
        let (before, _) = rows.trim_end().rsplit_once('\n').unwrap();
        fs::write(folder.join("runs.csv"), format!("{before}\n")).unwrap();
    };
    [
        Parts {
            args: [&ON_IMAGES[..], &few].concat(),
            folder: "hyper-cleaning-0-seeds-2",
            reads: true,
            undo: |folder| {
                for file in ["seed-1/settings.toml", "seed-1/summary.json", "summary.json"] {
                    fs::remove_file(folder.join(file)).unwrap();
                }
            },
        },
        Parts {
            args: "compare ijcnn1 --method cg --seeds 2 --calls 64".split(' ').collect(),
            folder: "compare-ijcnn1",
            reads: true,
            undo: without_last_row,
        },
        Parts {
            args: "toys --problem constrained".split(' ').collect(),
            folder: "toys",
            reads: false,
            undo: without_last_row,
        },
    ]
}

impl Parts {
    /// Makes it; its folder and its data.
    fn make(&self, out: &Path) -> (PathBuf, PathBuf) {
        let data = data(out);
        let mut run = bilevel();
        run.args(&self.args).arg("--out").arg(out);
        if self.reads {
            run.arg("--data-dir").arg(&data);
        }
        assert!(run.status().unwrap().success(), "{:?}", self.args);
        let folder = out.join(self.folder);
        if !self.reads {
            // A second part, as if it was interrupted before the first.
            edit(&folder, |settings| {
                settings["toys"] = vec!["constrained", "many-solutions"].into();
            });
            for file in ["table.txt", "claims.csv", "runs.csv"] {
                fs::remove_file(folder.join(file)).unwrap();
            }
            told(&folder, &[], &[]);
        }
        (folder, data)
    }
}

#[test]
fn seeds_and_comparisons_go_on_with_other_data_only_by_a_flag_and_say_so() {
    for parts in parts().iter().filter(|parts| parts.reads) {
        let out = tempdir().unwrap();
        let (folder, data) = parts.make(out.path());
        let undo = || (parts.undo)(&folder);
        undo();
        told(&folder, &[FLAG], &[]);
        undo();
        change(&data);
        refused(&folder, "data");
        told(&folder, &[FLAG], &[DATA]);
        undo();
        told(&folder, &[], &[DATA]);
    }
}

#[test]
fn parts_go_on_by_another_version_only_by_a_flag_and_say_so() {
    for parts in parts() {
        let out = tempdir().unwrap();
        let (folder, _) = parts.make(out.path());
        (parts.undo)(&folder);
        another_version_went_on(&folder);
        refused(&folder, "version another version");
        told(&folder, &[FLAG], &[VERSION]);
        (parts.undo)(&folder);
        told(&folder, &[], &[VERSION]);
    }
}

/// Nothing of the folder is from the version that began it.
#[test]
fn toys_that_another_version_began_were_refused_in_spite_of_the_flag() {
    let out = tempdir().unwrap();
    let (folder, _) = parts()[2].make(out.path());
    another_version_went_on(&folder);
    for file in ["table.txt", "claims.csv", "runs.csv"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    refused(&folder, "version another version");
    told(&folder, &[FLAG], &[]);
}

/// Folders of early versions.
#[test]
fn a_folder_that_does_not_tell_its_origin_took_any_data() {
    let out = tempdir().unwrap();
    let seeds = &parts()[0];
    let (folder, data) = seeds.make(out.path());
    (seeds.undo)(&folder);
    edit(&folder, |settings| drop(settings.remove("made-by").unwrap()));
    change(&data);
    refused(&folder, "version unknown");
    told(&folder, &[FLAG], &[DATA, VERSION]);
    (seeds.undo)(&folder);
    told(&folder, &[], &[DATA, VERSION]);
}

#[test]
fn another_commit_or_processor_is_a_warning() {
    let out = tempdir().unwrap();
    let seeds = &parts()[0];
    let (folder, _) = seeds.make(out.path());
    (seeds.undo)(&folder);
    let whats = ["commit", "processor"];
    edit(&folder, |settings| {
        for what in whats {
            settings["made-by"][what] = format!("another {what}").into();
        }
    });
    let (code, text) = resumed(&folder, &[]);
    assert_eq!(code, Some(0), "{text}");
    for what in whats {
        let says = format!("the run began with {what} \"another {what}\", here is");
        assert!(text.contains(&says), "{text}");
    }
}
